# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The label files of YOLO: where they lie, and what their lines mean."""

import math
from collections.abc import Mapping
from pathlib import Path

from ..faults import Faults
from . import fault_kinds
from .coco_builder import CocoBuilder

#: How far a number may lie outside of 0..1: sloppy rounding, which is clipped.
UNIT_TOLERANCE = 0.01


class LabelReader:
    """Reads label files, a line an object.

    A line is ``class cx cy w h`` or ``class x1 y1 x2 y2 x3 y3 ...``, in
    fractions of the image's width and height.

    Args:
        classes: The position of each class index that files may use.
        has_keypoints: Whether keypoints follow each box, which are not read.
        faults: Where to count lines that cannot be read.

    Attributes:
        boxes: Number of objects so far that are known by a box.
        polygons: The same by a polygon.
    """

    def __init__(
        self,
        classes: Mapping[int, int],
        has_keypoints: bool,
        faults: Faults,
    ) -> None:
        self.classes = classes
        self.has_keypoints = has_keypoints
        self.faults = faults
        self.boxes = 0
        self.polygons = 0

    def add_objects(self, file: Path, builder: CocoBuilder) -> None:
        """Add the objects of a file to the image that was added last."""
        text = file.read_text('utf-8-sig', errors='replace')
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split()
            if words:
                self._add_object(words, f'{file}, line {number}', builder)

    def _add_object(
        self, words: list[str], place: str, builder: CocoBuilder
    ) -> None:
        """Add the object of a line, or count what is wrong with it."""
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            numbers = [math.nan]
        if not all(map(math.isfinite, numbers)):
            self.faults.add(fault_kinds.NO_NUMBER, f'{place}: {brief(words)}')
            return
        index, *values = numbers
        if self.has_keypoints:
            values = values[:4]
        is_polygon = len(values) >= 6 and len(values) % 2 == 0
        if len(values) != 4 and not is_polygon:
            self.faults.add(
                fault_kinds.LINE_LENGTH, f'{place}: {len(words)} numbers'
            )
            return
        category = self.classes.get(int(index)) if index % 1 == 0 else None
        if category is None:
            self.faults.add(fault_kinds.CLASS_INDEX, f'{place}: {words[0]}')
            return
        if (
            not -UNIT_TOLERANCE
            <= min(values)
            <= max(values)
            <= (1 + UNIT_TOLERANCE)
        ):
            self.faults.add(
                fault_kinds.OUTSIDE_UNIT, f'{place}: {brief(words)}'
            )
            return
        size = builder.sizes[-1]
        pixels = [value * size[i % 2] for i, value in enumerate(values)]
        if is_polygon:
            self.polygons += 1
            builder.add_polygon(pixels, category, place)
        else:
            self.boxes += 1
            x, y, width, height = pixels
            corners = [
                x - width / 2,
                y - height / 2,
                x + width / 2,
                y + height / 2,
            ]
            builder.add_box(corners, category, place)


def label_path(image: Path, root: Path) -> Path:
    """Where the label file of an image lies.

    Args:
        image: Its file.
        root: The data's folder: the names of folders above it say nothing
            about images within it.
    """
    label = image.with_suffix('.txt')
    base = root if image.is_relative_to(root) else Path(image.anchor)
    parts = list(label.relative_to(base).parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == 'images':
            parts[i] = 'labels'
            break
    return base.joinpath(*parts)


def brief(words: list[str]) -> str:
    """The beginning of a line, for messages."""
    return ' '.join(words[:5]) + (' ...' if len(words) > 5 else '')
