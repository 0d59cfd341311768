# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What can be wrong with annotated images, found before training."""

from collections.abc import Mapping

from ..faults import FaultKind
from ..image_files import Size
from ..records import AnnotatedData, DetectionSplit, Split
from .class_names import check_class_names
from .classification import check_classification
from .copies import check_copies
from .detection import annotated_sizes, check_detection
from .images import EXIF_TURNED, EXIF_UNCLEAR, check_images
from .masks import SOME_WITHOUT_MASK
from .segmentation import check_segmentation

__all__ = [
    'EXIF_TURNED',
    'EXIF_UNCLEAR',
    'IN_TWO_SPLITS',
    'QUICK_SECONDS',
    'SOME_WITHOUT_MASK',
    'check',
    'check_classification',
    'check_detection',
    'check_images',
    'check_segmentation',
]

IN_TWO_SPLITS = FaultKind(
    'warning',
    'image file is in two splits',
    'Take it out of one: results on images that were trained on say little.',
)

#: What a quick check spends on opening images, and again on label maps.
QUICK_SECONDS = 2.0


def check(data: AnnotatedData, *, quick: bool, progress: bool = False) -> None:
    """Check annotated images.

    Args:
        data: Its ``faults`` are added to, and its ``notes`` if not every
            file was looked at.
        quick: Check all annotations, but open as many images and label maps
            as can be in :data:`QUICK_SECONDS` each. Otherwise all are opened.
        progress: Show progress on stderr.
    """
    seconds = QUICK_SECONDS if quick else None
    check_class_names(data)
    if data.task == 'detection':
        check_detection(data)
    elif data.task == 'segmentation':
        title = 'label maps' if progress else None
        seen = check_segmentation(data, seconds, title)
        if not seen.is_all:
            data.notes.append(f'{seen} label maps were checked.')
    else:
        check_classification(data)
    if not quick:
        check_copies(data)
    sizes: dict[str, Size | None] = {}
    for name, split in data.splits.items():
        of_split = _image_sizes(split)
        for path in of_split.keys() & sizes.keys():
            data.faults.add(IN_TWO_SPLITS, f'{path}, also in {name}')
        sizes.update(of_split)
    title = 'images' if progress else None
    seen = check_images(sizes, data.faults, seconds, title)
    if not seen.is_all:
        data.notes.append(f'{seen} image files were opened to check them.')


def _image_sizes(split: Split) -> Mapping[str, Size | None]:
    """The images of a split with the sizes that their annotations give."""
    if isinstance(split, DetectionSplit):
        return annotated_sizes(split)
    # Label maps have sizes of their own, which their check compares.
    return dict.fromkeys(map(str, split.images))
