# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Check images of classes: classes without any."""

from collections import Counter

from ..faults import FaultKind
from ..records import AnnotatedData, ClassificationSplit

NO_IMAGES = FaultKind(
    'warning',
    'class has no image in a split',
    'Put images there, or remove the class: what is not there is not learnt.',
)


def check_classification(data: AnnotatedData) -> None:
    """Count the classes without images.

    Args:
        data: Its ``faults`` are added to.
    """
    for name, split in data.splits.items():
        if not isinstance(split, ClassificationSplit):
            continue
        numbers = Counter(label for _, label in split.samples)
        for index, label in enumerate(data.classes):
            if not numbers[index]:
                place = f'{data.root}, {name}: {label!r}'
                data.faults.add(NO_IMAGES, place)
