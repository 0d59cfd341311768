# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""How much of what is in annotated images."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .checks.boxes import read_boxes
from .checks.segmentation import read_pair
from .checks.sweep import SEED, sweep
from .coco_values import is_id, size_of
from .image_files import read_head
from .label_maps import LabelEncoding
from .records import (
    AnnotatedData,
    ClassificationSplit,
    DetectionSplit,
    SegmentationSplit,
)

# Sides of squares, in pixels, that COCO's sizes of objects begin and end at.
COCO_SIZES = {'small': (0, 32), 'medium': (32, 96), 'large': (96, np.inf)}
#: More label maps, or images without an annotated size, are sampled.
MOST_READ = 500


@dataclass
class SplitStatistics:
    """How much of what is in a split.

    Attributes:
        num_images: Number of images.
        num_read: Number of images that the rest is about: fewer than all
            where files had to be read for it.
        images_with: For each class, the images that have it.
        objects: For each class, its objects, in a detection data set.
        pixels: For each class, its share of the pixels that are not ignored,
            in a segmentation data set.
        image_sizes: ``(n, 2)`` widths and heights of images in pixels.
        object_sizes: Square roots of the areas of objects, relative to those
            of their images, ``(n,)``.
        coco_sizes: Number of objects that are small, medium and large, as
            COCO counts them.
    """

    num_images: int
    num_read: int
    images_with: dict[str, int]
    objects: dict[str, int] | None = None
    pixels: dict[str, float] | None = None
    image_sizes: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))
    object_sizes: np.ndarray = field(default_factory=lambda: np.empty(0))
    coco_sizes: dict[str, int] = field(default_factory=dict)

    @property
    def num_objects(self) -> int:
        """Number of objects of all classes."""
        return sum((self.objects or {}).values())


def collect_statistics(data: AnnotatedData) -> dict[str, SplitStatistics]:
    """Count what is in each split.

    What is faulty in the data is passed over.

    Args:
        data: Annotated images.

    Returns:
        Statistics by the names of splits.
    """
    statistics = {}
    for name, split in data.splits.items():
        if isinstance(split, DetectionSplit):
            statistics[name] = _count_objects(split, data.classes)
        elif isinstance(split, SegmentationSplit):
            encoding = data.encoding or LabelEncoding()
            statistics[name] = _count_pixels(split, encoding, data.classes)
        else:
            statistics[name] = _count_images(split, data.classes)
    return statistics


def _count_objects(
    split: DetectionSplit, classes: Sequence[str]
) -> SplitStatistics:
    annotations, images = split.coco['annotations'], split.coco['images']
    names = {
        category['id']: str(category.get('name'))
        for category in split.coco['categories']
        if is_id(category.get('id'))
    }
    sizes = {
        image['id']: size_of(image)
        for image in images
        if is_id(image.get('id'))
    }
    objects: Counter[str] = Counter()
    pairs = set()
    for annotation in annotations:
        name = names.get(_id(annotation, 'category_id'))
        if name is not None:
            objects[name] += 1
            pairs.add((name, _id(annotation, 'image_id')))
    images_with = Counter(name for name, _ in pairs)
    positions, boxes = read_boxes(annotations)
    areas, shares = [], []
    for row, box in zip(positions.tolist(), boxes, strict=True):
        size = sizes.get(_id(annotations[row], 'image_id'))
        area = annotations[row].get('area')
        if not (isinstance(area, int | float) and area > 0):
            area = box[2] * box[3]
        if size is not None and area > 0:
            areas.append(area)
            shares.append(area / (size[0] * size[1]))
    sides = np.sqrt(areas)
    known = [size for size in map(size_of, images) if size is not None]
    return SplitStatistics(
        len(images),
        len(images),
        {name: images_with[name] for name in classes},
        {name: objects[name] for name in classes},
        image_sizes=np.array(known).reshape(-1, 2),
        object_sizes=np.sqrt(shares),
        coco_sizes={
            name: int(((sides >= start) & (sides < end)).sum())
            for name, (start, end) in COCO_SIZES.items()
        },
    )


def _count_pixels(
    split: SegmentationSplit, encoding: LabelEncoding, classes: Sequence[str]
) -> SplitStatistics:
    chosen = split.subset(_sample(len(split)))
    contents = sweep(chosen.pairs, lambda pair: read_pair(*pair, encoding))
    pixels: Counter[int] = Counter()
    images_with: Counter[int] = Counter()
    for content in contents.values():
        pixels.update(content.pixels)
        images_with.update(content.pixels.keys())
    total = sum(pixels[i] for i in range(len(classes)))
    return SplitStatistics(
        len(split),
        len(chosen),
        {name: images_with[i] for i, name in enumerate(classes)},
        pixels={
            name: pixels[i] / max(total, 1) for i, name in enumerate(classes)
        },
        image_sizes=_read_sizes(chosen.images),
    )


def _count_images(
    split: ClassificationSplit, classes: Sequence[str]
) -> SplitStatistics:
    numbers = Counter(label for _, label in split.samples)
    images = split.subset(_sample(len(split))).images
    return SplitStatistics(
        len(split),
        len(split),
        {name: numbers[i] for i, name in enumerate(classes)},
        image_sizes=_read_sizes(images),
    )


def _read_sizes(paths: Sequence[Any]) -> np.ndarray:
    def read(path: Any) -> tuple[int, int] | None:
        try:
            return read_head(path).turned_size
        except OSError:
            return None

    sizes = [size for size in sweep(paths, read).values() if size is not None]
    return np.array(sizes).reshape(-1, 2)


def _sample(number: int) -> list[int]:
    """As many positions as are read, always the same."""
    if number <= MOST_READ:
        return list(range(number))
    chosen = np.random.default_rng(SEED).choice(number, MOST_READ, False)
    return sorted(chosen.tolist())


def _id(record: dict[str, Any], key: str) -> int | str | None:
    value = record.get(key)
    return value if is_id(value) else None
