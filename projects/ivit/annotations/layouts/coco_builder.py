# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Write objects of other layouts as the content of a COCO file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..faults import Faults
from ..records import DetectionSplit
from . import fault_kinds
from .folders import common_folder

#: How far an object may reach over the border, in pixels, before it counts as
#: a fault: rounding of normalised numbers and of 1-based pixels.
BORDER_TOLERANCE = 1.5


class CocoBuilder:
    """The images of one split and their objects.

    Objects are clipped to their image. Those without an area left are left
    out, and counted among the faults.

    Args:
        classes: Names in order; their ids start at 1.
        faults: Where to count faults.
    """

    def __init__(self, classes: Sequence[str], faults: Faults) -> None:
        self.categories = [
            dict(id=number, name=name)
            for number, name in enumerate(classes, 1)
        ]
        self.faults = faults
        self.paths: list[Path] = []
        self.sizes: list[tuple[int, int]] = []
        self.annotations: list[dict[str, Any]] = []

    def add_image(self, path: Path, size: tuple[int, int]) -> None:
        """Add an image. Objects that follow are on it.

        Args:
            path: Its file.
            size: Width and height in pixels.
        """
        self.paths.append(path)
        self.sizes.append(size)

    def add_box(
        self,
        corners: Sequence[float],
        category: int,
        place: object,
        is_crowd: bool = False,
    ) -> None:
        """Add an object that is known by its box.

        Args:
            corners: x and y of the upper left and the lower right corner, in
                pixels.
            category: The index of its class, from 0.
            place: File and line, for faults.
            is_crowd: Whether it is left out of evaluation.
        """
        if corners[2] < corners[0] or corners[3] < corners[1]:
            self.faults.add(fault_kinds.BOX_SWAPPED, place)
            return
        x1, y1, x2, y2 = self._clip(corners, place)
        area = max(x2 - x1, 0) * max(y2 - y1, 0)
        if area:
            box = [x1, y1, x2 - x1, y2 - y1]
            self._append(box, area, category, iscrowd=int(is_crowd))
        else:
            self.faults.add(fault_kinds.BOX_EMPTY, place)

    def add_polygon(
        self, points: Sequence[float], category: int, place: object
    ) -> None:
        """Add an object that is known by its outline.

        Args:
            points: x and y in turns, in pixels, of at least 3 points.
            category: The index of its class, from 0.
            place: File and line, for faults.
        """
        points = self._clip(points, place)
        xs, ys = points[::2], points[1::2]
        box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
        area = polygon_area(xs, ys)
        if area:
            self._append(box, area, category, iscrowd=0, segmentation=[points])
        else:
            self.faults.add(fault_kinds.BOX_EMPTY, place)

    def build(self) -> DetectionSplit:
        """The split; file names are relative to the images' folder."""
        root = common_folder(self.paths)
        images = [
            dict(
                id=number,
                file_name=path.relative_to(root).as_posix(),
                width=width,
                height=height,
            )
            for number, (path, (width, height)) in enumerate(
                zip(self.paths, self.sizes, strict=True), 1
            )
        ]
        coco = dict(
            images=images,
            annotations=self.annotations,
            categories=self.categories,
        )
        return DetectionSplit(root, coco)

    def _clip(self, points: Sequence[float], place: object) -> list[float]:
        """Move points to within the image, and count it if it is far."""
        size = self.sizes[-1]
        clipped = [
            min(max(value, 0), size[i % 2]) for i, value in enumerate(points)
        ]
        moved = (abs(a - b) for a, b in zip(points, clipped, strict=True))
        if max(moved) > BORDER_TOLERANCE:
            self.faults.add(fault_kinds.BOX_CLIPPED, place)
        return clipped

    def _append(
        self, box: list[float], area: float, category: int, **entries: Any
    ) -> None:
        """Add an object on the image that was added last."""
        self.annotations.append(
            dict(
                id=len(self.annotations) + 1,
                image_id=len(self.paths),
                category_id=category + 1,
                bbox=box,
                area=area,
                **entries,
            )
        )


def polygon_area(xs: Sequence[float], ys: Sequence[float]) -> float:
    """The area of a polygon, in square pixels (the shoelace formula)."""
    doubled = sum(
        xs[i - 1] * ys[i] - xs[i] * ys[i - 1] for i in range(len(xs))
    )
    return abs(doubled) / 2
