# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Check the boxes of COCO annotations, all of a split at once."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from ..faults import FaultKind, Faults

UNREADABLE = FaultKind(
    'error',
    'bbox is not a list of 4 numbers',
    'Write [x, y, width, height] in pixels, as numbers and not as texts.',
)
NOT_FINITE = FaultKind(
    'error',
    'bbox has NaN or an infinite number',
    'Write the numbers in pixels, or remove the annotation.',
)
AS_CORNERS = FaultKind(
    'error',
    'boxes look like x1 y1 x2 y2: read as x y width height, many leave their '
    'image',
    'Write [x1, y1, x2 - x1, y2 - y1].',
)
RELATIVE = FaultKind(
    'error',
    'boxes are shares of the image: none is larger than a pixel',
    'Multiply x and width by the width of the image, y and height by its '
    'height.',
)
NEGATIVE = FaultKind(
    'error',
    'box has a negative width or height',
    'Write [x, y, width, height], from the corner at the top left.',
)
EMPTY = FaultKind(
    'warning',  # COCO's own files have some
    'box is less than a pixel wide or high',
    'It is left out in training. Correct or remove it.',
)
OUTSIDE = FaultKind(
    'error',
    'box lies wholly outside of its image',
    'It is left out in training. See if the image and its width and height '
    'are those that were annotated.',
)
#: The same where only a few boxes have it.
FEW_OUTSIDE = OUTSIDE._replace(level='warning')
PARTLY_OUTSIDE = FaultKind(
    'warning',
    'box reaches over the border of its image',
    'It is clipped in training. Correct it if it is for another image.',
)

# Large data sets have some boxes outside, which training leaves out. More of
# them come from a mistake.
FEW = 0.01
# As many boxes leave their image if their corners are read as sizes.
MANY = 0.1
# Tools differ in whether the last pixel counts, and round.
TOLERANCE = 1.0  # pixels
NUMBERS = {int, float}
LARGEST = 1e300  # of whole numbers; larger ones are no floats


def read_boxes(
    annotations: Sequence[dict[str, Any]],
    add: Callable[[FaultKind, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The boxes that can be read.

    Args:
        annotations: Of a COCO file.
        add: Called with each fault and the position of the annotation.

    Returns:
        Positions of the annotations ``(n,)``, and their boxes ``(n, 4)``, x y
        width height. Annotations without ``bbox`` are passed over.
    """
    found: list[Any] = [annotation.get('bbox') for annotation in annotations]
    rows: Sequence[int] = range(len(found))
    boxes = _as_array(found)
    if boxes is None:
        rows = [row for row in rows if _is_box(found[row])]
        values = chain.from_iterable(found[row] for row in rows)
        boxes = np.fromiter(values, float, 4 * len(rows)).reshape(-1, 4)
        readable = set(rows)
        for row, annotation in enumerate(annotations):
            if 'bbox' in annotation and row not in readable and add:
                add(UNREADABLE, row)
    finite = np.isfinite(boxes).all(1)
    positions = np.array(rows, int)
    if add:
        for row in positions[~finite]:
            add(NOT_FINITE, int(row))
    return positions[finite], boxes[finite]


def _as_array(found: Sequence[Any]) -> np.ndarray | None:
    """All boxes ``(n, 4)`` if each of them is one, as in most files."""
    if set(map(type, found)) != {list} or set(map(len, found)) != {4}:
        return None
    if not set(map(type, chain.from_iterable(found))) <= NUMBERS:
        return None
    try:
        values = chain.from_iterable(found)
        return np.fromiter(values, float, 4 * len(found)).reshape(-1, 4)
    except OverflowError:
        return None


def _is_box(box: object) -> bool:
    return (
        isinstance(box, list | tuple)
        and len(box) == 4
        and all(type(number) in NUMBERS for number in box)
        and not any(type(n) is int and abs(n) > LARGEST for n in box)
    )


def check_boxes(
    positions: np.ndarray,
    boxes: np.ndarray,
    sizes: np.ndarray,
    add: Callable[[FaultKind, int], None],
    faults: Faults,
    where: str,
) -> None:
    """Check boxes against each other and against their images.

    Args:
        positions: Of the annotations ``(n,)``.
        boxes: ``(n, 4)``, x y width height in pixels.
        sizes: Width and height of the image of each ``(n, 2)``; NaN where it
            is not known.
        add: Called with each fault and the position of the annotation.
        faults: Where to count what all boxes have.
        where: The place of the latter.
    """
    if not len(boxes):
        return
    start, extent = boxes[:, :2], boxes[:, 2:]

    def report(kind: FaultKind, bad: Any) -> None:
        for row in positions[bad]:
            add(kind, int(row))

    # Comparisons with an unknown size are false.
    if np.abs(boxes).max() <= 1 and (sizes > 2).any():
        faults.add(RELATIVE, f'{where}: {boxes[0].tolist()}')
        return
    negative = (extent < 0).any(1)
    report(NEGATIVE, negative)
    empty = (extent < 1).any(1) & ~negative
    report(EMPTY, empty)
    leaves = (start + extent > sizes + TOLERANCE).any(1)
    if leaves.mean() >= MANY and not _leave_as_corners(boxes, sizes).any():
        first = int(np.flatnonzero(leaves)[0])
        size = ' x '.join(f'{side:g}' for side in sizes[first])
        faults.add(
            AS_CORNERS,
            f'{where}: {int(leaves.sum())} of {len(boxes)} boxes leave, as '
            f'{boxes[first].tolist()} in an image of {size}',
        )
        return
    leaves |= (start < -TOLERANCE).any(1)
    outside = (start >= sizes).any(1) | (start + extent <= 0).any(1)
    outside &= ~(negative | empty)
    report(FEW_OUTSIDE if outside.mean() <= FEW else OUTSIDE, outside)
    report(PARTLY_OUTSIDE, leaves & ~(outside | negative | empty))


def _leave_as_corners(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Which boxes cannot be x1 y1 x2 y2 within their images."""
    first, last = boxes[:, :2], boxes[:, 2:]
    wrong = (first < -TOLERANCE) | (last <= first)
    wrong |= last > sizes + TOLERANCE
    return np.asarray(wrong.any(1))
