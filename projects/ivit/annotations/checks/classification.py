# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Check the classes of single images."""

from collections import Counter

from ..faults import FaultKind
from ..records import AnnotatedData, ClassificationSplit

EMPTY_CLASS = FaultKind(
    'warning', 'class has no image', 'Nothing is learnt of it.'
)
NO_IMAGES = FaultKind(
    'error', 'there is no image to train on', 'Is it the right folder?'
)


def check_classification(data: AnnotatedData) -> None:
    """Check that every class has images in every split.

    Args:
        data: A classification data set; its ``faults`` get what is wrong.
    """
    for name, split in data.splits.items():
        if not isinstance(split, ClassificationSplit):
            continue
        counts = Counter(label for _, label in split.samples)
        if not counts and name == 'train':
            data.faults.add(NO_IMAGES, split.image_root)
        for label, class_name in enumerate(data.classes):
            if not counts[label]:
                data.faults.add(EMPTY_CLASS, f'{class_name!r} in {name}')
