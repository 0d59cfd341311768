# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Checks of annotated data: what training would fail on or learn wrong."""

from collections.abc import Iterable

from ..records import AnnotatedData, DetectionSplit, Split
from .classification import check_classification
from .detection import check_detection, expected_images
from .images import ExpectedImage, check_images
from .segmentation import check_segmentation

__all__ = ['check']

# What a check before every training may cost.
QUICK_SECONDS = 5.0
QUICK_MAPS = 200


def check(
    data: AnnotatedData,
    *,
    quick: bool,
    masks: bool | None = None,
    progress: bool = False,
) -> None:
    """Check annotations and images; faults go to ``data.faults``.

    Args:
        data: The data set.
        quick: Look at as many images as some seconds allow, and at a sample
            of the label maps. Annotations of objects are always looked at
            whole, and every image has to be there. Where not all was looked
            at, ``data.notes`` get a sentence.
        masks: Whether every object needs a mask; by default where some have
            one.
        progress: Show progress bars on stderr.
    """
    if data.task == 'detection':
        check_detection(data, masks)
    elif data.task == 'segmentation':
        check_segmentation(
            data, QUICK_MAPS if quick else None, 'label maps' * progress
        )
    else:
        check_classification(data)
    images = list(_expected(data.splits.values()))
    opened = check_images(
        images,
        data.faults,
        QUICK_SECONDS if quick else None,
        'images' * progress,
    )
    if quick and opened < len(images):
        data.notes.append(
            f'{opened} of {len(images)} image files were opened to check '
            'them; `ivit data` opens all.'
        )


def _expected(splits: Iterable[Split]) -> Iterable[ExpectedImage]:
    """The images of all splits, with the sizes that annotations give."""
    for split in splits:
        if isinstance(split, DetectionSplit):
            yield from expected_images(split)
        else:
            yield from (ExpectedImage(path) for path in split.images)
