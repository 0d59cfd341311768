# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Check the masks of COCO annotations: polygons and run lengths."""

import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from ..faults import FaultKind
from ..image_files import Size
from .run_lengths import count_pixels

#: Training a model with masks fails at an object without one. A model of
#: boxes alone does not mind.
SOME_WITHOUT_MASK = FaultKind(
    'warning',
    'object has no mask, others have',
    'Draw it, remove the object, or take a model without masks.',
)
EMPTY = FaultKind(
    'warning',
    'segmentation is empty',
    'Nothing has to be done for a model without masks.',
)
UNREADABLE = FaultKind(
    'error',
    'segmentation is neither polygons nor RLE',
    'Write [[x1, y1, x2, y2, x3, y3, ...], ...] in pixels, or '
    '{"size": [height, width], "counts": ...}.',
)
FEW_POINTS = FaultKind(
    'warning',
    'polygon has fewer than 3 points',
    'It is left out in training. Correct or remove it.',
)
ODD = FaultKind(
    'error',
    'polygon has an odd number of coordinates',
    'Write x and y of each point in turns.',
)
RLE_SIZE = FaultKind(
    'error',
    'RLE has not the size of its image',
    'Its size is [height, width] of the image; encode the mask anew.',
)
RLE_BROKEN = FaultKind(
    'error',
    'RLE cannot be decoded: its runs do not fill its size',
    'Encode the mask anew, with pycocotools.mask.encode.',
)


def check_masks(
    annotations: Sequence[dict[str, Any]],
    sizes: Sequence[Size | None],
    add: Callable[[FaultKind, int], None],
) -> None:
    """Check all masks of a split.

    Args:
        annotations: Of a COCO file.
        sizes: Width and height of the image of each; None if not known.
        add: Called with each fault and the position of the annotation.
    """
    without, compressed = [], []
    found = [annotation.get('segmentation') for annotation in annotations]
    if _all_are_polygons(found):  # as in most files
        return
    for row, segmentation in enumerate(found):
        if not segmentation:
            without.append(row)
            if segmentation is not None:
                add(EMPTY, row)
            continue
        if type(segmentation) is list and _all_are_polygons([segmentation]):
            continue
        for kind in find_faults(segmentation, sizes[row]):
            add(kind, row)
        if _is_compressed(segmentation):
            compressed.append(row)
    if len(without) < len(annotations):
        for row in without:
            add(SOME_WITHOUT_MASK, row)
    masks = [annotations[row]['segmentation'] for row in compressed]
    totals = count_pixels([_as_bytes(mask['counts']) for mask in masks])
    for row, mask, total in zip(compressed, masks, totals, strict=True):
        if total != _area(mask['size']):
            add(RLE_BROKEN, row)


def _all_are_polygons(segmentations: Sequence[Any]) -> bool:
    """Whether there is nothing but polygons, and nothing wrong with any."""
    if set(map(type, segmentations)) != {list} or not all(segmentations):
        return False
    polygons = list(chain.from_iterable(segmentations))
    if set(map(type, polygons)) != {list}:
        return False
    lengths = set(map(len, polygons))
    if min(lengths) < 6 or any(length % 2 for length in lengths):
        return False
    try:
        # A text, a list or None among the numbers has no sum with them.
        return math.isfinite(sum(map(sum, polygons)))
    except (TypeError, OverflowError):
        return False


def is_drawable(segmentation: Any, size: Size) -> bool:
    """Whether a mask can be decoded.

    Args:
        segmentation: Of an annotation.
        size: Width and height of the image.
    """
    if not segmentation or find_faults(segmentation, size):
        return False
    if not _is_compressed(segmentation):
        return True
    (total,) = count_pixels([_as_bytes(segmentation['counts'])])
    return bool(total == _area(segmentation['size']))


def find_faults(segmentation: Any, size: Size | None) -> list[FaultKind]:
    """The faults of a mask; what compressed runs cover is not counted.

    Args:
        segmentation: Of an annotation, not empty.
        size: Width and height of the image; None if not known.
    """
    if isinstance(segmentation, list):
        return _find_in_polygons(segmentation)
    if isinstance(segmentation, dict):
        return _find_in_rle(segmentation, size)
    return [UNREADABLE]


def _find_in_polygons(polygons: list[Any]) -> list[FaultKind]:
    found = []
    for polygon in polygons:
        try:
            # A text, a list or None among the numbers has no sum with them.
            readable = math.isfinite(sum(polygon))
            length = len(polygon)
        except (TypeError, OverflowError):
            readable = False
        if not readable:
            found.append(UNREADABLE)
        elif length % 2:
            found.append(ODD)
        elif length < 6:
            found.append(FEW_POINTS)
    return list(dict.fromkeys(found)) if found else found


def _find_in_rle(rle: dict[str, Any], size: Size | None) -> list[FaultKind]:
    counts, stored = rle.get('counts'), rle.get('size')
    if not (
        isinstance(counts, list | str | bytes)
        and isinstance(stored, list | tuple)
        and len(stored) == 2
        and all(type(side) is int and side > 0 for side in stored)
    ):
        return [UNREADABLE]
    found = []
    if size is not None and tuple(stored) != size[::-1]:
        found.append(RLE_SIZE)
    if isinstance(counts, list) and not (
        all(type(run) is int and run >= 0 for run in counts)
        and sum(counts) == _area(stored)
    ):
        found.append(RLE_BROKEN)
    return found


def _is_compressed(segmentation: Any) -> bool:
    return (
        isinstance(segmentation, dict)
        and isinstance(segmentation.get('counts'), str | bytes)
        and UNREADABLE not in _find_in_rle(segmentation, None)
    )


def _as_bytes(counts: str | bytes) -> bytes:
    # Letters beyond ASCII become bytes that are none of the code.
    if isinstance(counts, str):
        return counts.encode('utf-8', 'surrogatepass')
    return counts


def _area(size: Sequence[int]) -> int:
    return size[0] * size[1]
