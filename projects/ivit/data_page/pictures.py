# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Images with their annotations drawn on them, for a page."""

import random
from collections import defaultdict
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..annotations.checks.boxes import read_boxes
from ..annotations.checks.masks import is_drawable
from ..annotations.coco_values import is_id, size_of
from ..annotations.image_files import READ_ERRORS
from ..annotations.label_maps import IGNORED, LabelEncoding
from ..annotations.records import (
    AnnotatedData,
    ClassificationSplit,
    DetectionSplit,
    SegmentationSplit,
)
from ..report.instances import Instances, encode_masks
from ..report.markup import counted
from ..report.overlay import (
    Color,
    draw_image,
    draw_instances,
    draw_label_map,
)

SEED = 0
#: Of the pictures, as many are of the training split if there are others.
TRAIN_SHARE = 2 / 3


class Picture(NamedTuple):
    """An image with its annotations.

    Attributes:
        name: Of the file.
        line: What is annotated, in words.
        svg: The picture, an element of HTML.
    """

    name: str
    line: str
    svg: str

    def html(self) -> str:
        """The picture as HTML."""
        return (
            f'<article class="pair single"><h3>{escape(self.name)}</h3>'
            f'<figure><figcaption>{escape(self.line)}</figcaption>{self.svg}'
            '</figure></article>'
        )


def draw_pictures(
    data: AnnotatedData, palette: Sequence[Color], number: int
) -> list[Picture]:
    """Draw images that are chosen by a seed, as training sees them.

    Images that cannot be read are passed over, and so are, in a detection
    data set, those without objects.

    Args:
        data: Annotated images.
        palette: A colour for each class.
        number: How many pictures, fewer if there are not as many images.
    """
    pictures: list[Picture] = []
    others = [name for name in data.splits if name != 'train']
    for name in ['train', *others]:
        if name not in data.splits:
            continue
        share = number - len(pictures)
        if name == 'train' and others:
            share = round(TRAIN_SHARE * number)
        elif name != 'train':
            share = round(share / (len(others) - others.index(name)))
        pictures += _draw_split(data, name, palette, share)
    return pictures


def _draw_split(
    data: AnnotatedData, name: str, palette: Sequence[Color], number: int
) -> list[Picture]:
    split = data.splits[name]
    drawer: _Objects | _LabelMaps | _Classes
    if isinstance(split, DetectionSplit):
        drawer = _Objects(split, data.classes, palette)
    elif isinstance(split, SegmentationSplit):
        encoding = data.encoding or LabelEncoding()
        drawer = _LabelMaps(split, encoding, data.classes, palette)
    else:
        drawer = _Classes(split, data.classes)
    order = list(drawer.positions)
    random.Random(SEED).shuffle(order)
    pictures: list[Picture] = []
    for position in order:
        if len(pictures) == number:
            break
        try:
            path, line, svg = drawer.draw(position)
        except READ_ERRORS:
            continue  # a fault that the checks tell of
        pictures.append(Picture(path.name, f'{name}: {line}', svg))
    return pictures


class _Objects:
    """Draws the objects of images."""

    def __init__(
        self,
        split: DetectionSplit,
        classes: Sequence[str],
        palette: Sequence[Color],
    ) -> None:
        self._split, self._classes, self._palette = split, classes, palette
        self._labels = {
            category['id']: list(classes).index(str(category['name']))
            for category in split.coco['categories']
            if is_id(category.get('id'))
            and str(category.get('name')) in classes
        }
        self._of_images = defaultdict(list)
        for annotation in split.coco['annotations']:
            identity = annotation.get('image_id')
            if is_id(identity):
                self._of_images[identity].append(annotation)
        self.positions = [
            i
            for i, image in enumerate(split.coco['images'])
            if is_id(image.get('id'))
            and image['id'] in self._of_images
            and isinstance(image.get('file_name'), str)
            and size_of(image)
        ]

    def draw(self, position: int) -> tuple[Path, str, str]:
        """The path, a line in words and the picture."""
        image = self._split.coco['images'][position]
        path = self._split.image_root / image['file_name']
        width, height = image['width'], image['height']
        objects = self._read(self._of_images[image['id']], width, height)
        # Small objects would be hidden below large ones.
        areas = np.prod(objects.boxes[:, 2:] - objects.boxes[:, :2], 1)
        objects = objects.select(np.argsort(areas).tolist())
        svg = draw_instances(
            path,
            (height, width),
            objects,
            self._classes,
            self._palette,
            f'objects in {path.name}',
        )
        return path, counted(len(objects), 'object'), svg

    def _read(
        self, annotations: list[dict[str, Any]], width: int, height: int
    ) -> Instances:
        annotations = [
            annotation
            for annotation in annotations
            if is_id(annotation.get('category_id'))
            and annotation['category_id'] in self._labels
        ]
        positions, boxes = read_boxes(annotations)
        boxes = boxes.copy()
        boxes[:, 2:] += boxes[:, :2]
        chosen = [annotations[row] for row in positions.tolist()]
        size = width, height
        masks = None
        if any(is_drawable(a.get('segmentation'), size) for a in chosen):
            masks = encode_masks(
                [
                    dict(
                        bbox=box,
                        mask=a['segmentation']
                        if is_drawable(a.get('segmentation'), size)
                        else None,
                    )
                    for a, box in zip(chosen, boxes.tolist(), strict=True)
                ],
                (height, width),
            )
        labels = [self._labels[a['category_id']] for a in chosen]
        return Instances(boxes, labels, masks=masks)


class _LabelMaps:
    """Draws the label maps of images."""

    def __init__(
        self,
        split: SegmentationSplit,
        encoding: LabelEncoding,
        classes: Sequence[str],
        palette: Sequence[Color],
    ) -> None:
        self._pairs, self._encoding = split.pairs, encoding
        self._classes, self._palette = classes, palette
        self.positions = range(len(split))

    def draw(self, position: int) -> tuple[Path, str, str]:
        """The path, a line in words and the picture."""
        path, label_map = self._pairs[position]
        indices, _ = self._encoding.decode(label_map)
        found = [int(i) for i in np.unique(indices) if i != IGNORED]
        names = [self._classes[i] for i in found if i < len(self._classes)]
        svg = draw_label_map(
            path, indices, self._palette, f'label map of {path.name}'
        )
        return path, ', '.join(names) or 'nothing but ignored pixels', svg


class _Classes:
    """Draws images as they are, with the names of their classes."""

    def __init__(
        self, split: ClassificationSplit, classes: Sequence[str]
    ) -> None:
        self._samples, self._classes = split.samples, classes
        self.positions = range(len(split))

    def draw(self, position: int) -> tuple[Path, str, str]:
        """The path, a line in words and the picture."""
        path, label = self._samples[position]
        name = self._classes[label]
        return path, name, draw_image(path, f'{path.name}: {name}')
