# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Check COCO annotations: ids, keys, boxes, masks and categories."""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..coco_values import is_id, size_of
from ..faults import FaultKind
from ..image_files import Size
from ..records import AnnotatedData, DetectionSplit
from .boxes import check_boxes, read_boxes
from .masks import check_masks

Record = dict[str, Any]

IMAGE_KEY = FaultKind(
    'error',
    'image lacks a key',
    'Each image has id, file_name, width and height.',
)
IMAGE_SIZE = FaultKind(
    'error',
    'width or height of an image is not a positive whole number',
    'Write the size of the stored image in pixels.',
)
FILE_NAME = FaultKind(
    'error',
    'file_name is empty or not a text',
    'Write the path of the image within the folder of images.',
)
ANNOTATION_KEY = FaultKind(
    'error',
    'annotation lacks a key',
    'Each annotation has image_id, category_id and bbox.',
)
COMPUTED_KEY = FaultKind(
    'warning',
    'annotation lacks id, area or iscrowd',
    '`ivit train --data` numbers ids, computes areas and sets iscrowd to 0.',
)
AREA = FaultKind(
    'warning',
    'area of an annotation is not a positive number',
    'It is left out in training. Leave out `area` to have it computed.',
)
ID_TYPE = FaultKind(
    'error',
    'id is neither a whole number nor a text',
    'Write a whole number.',
)
IMAGE_IDS = FaultKind(
    'error',
    'image id is there more than once',
    'Give each image an id of its own, and its objects that image_id.',
)
FILE_NAMES = FaultKind(
    'error',
    'image file is there more than once',
    'Keep one of the images, with the objects of all.',
)
ANNOTATION_IDS = FaultKind(
    'warning',
    'annotation id is there more than once',
    '`ivit train --data` numbers the annotations anew; mmdet alone stops.',
)
UNKNOWN_IMAGE = FaultKind(
    'error',
    'annotation is of an image that is not there',
    'Correct image_id, also in type (17 is not "17"), or remove it.',
)
UNKNOWN_CATEGORY = FaultKind(
    'error',
    'annotation is of a category that is not there',
    'Correct category_id, also in type (17 is not "17"), or add the category.',
)
CATEGORY_KEY = FaultKind(
    'error', 'category lacks a key', 'Each category has id and name.'
)
CATEGORY_IDS = FaultKind(
    'error',
    'category id is there more than once',
    'Give each category an id of its own.',
)
CATEGORY_NAMES = FaultKind(
    'warning',
    'category name is there more than once',
    '`ivit train --data` makes them one class; mmdet alone mixes up the '
    'classes. Give each category a name of its own.',
)
UNUSED_CATEGORY = FaultKind(
    'warning',
    'class has no object in a split',
    'Annotate some, or remove the category: what is not there is not learnt '
    'and has no AP.',
)
WITHOUT_OBJECTS = FaultKind(
    'warning',
    'image has no object',
    'See that it was annotated. Most configs leave it out in training.',
)
NO_OBJECTS = FaultKind(
    'error',
    'training split has no object',
    'See that the file is the one with the annotations.',
)
NO_OBJECTS_EVALUATED = FaultKind(
    'warning',
    'split has no object to evaluate with',
    'See that the file is the one with the annotations.',
)
ONLY_CROWDS = FaultKind(
    'warning',
    'all objects of a split are crowds',
    'Write iscrowd = 0 for single objects: crowds are not learnt.',
)


def check_detection(data: AnnotatedData) -> None:
    """Count the faults in the annotations of all splits.

    Args:
        data: Its ``faults`` are added to.
    """
    for name, split in data.splits.items():
        if isinstance(split, DetectionSplit):
            _SplitCheck(name, split, data).run()


def annotated_sizes(split: DetectionSplit) -> dict[Path, Size | None]:
    """The images that have a file name, each with its annotated size."""
    return {
        split.image_root / image['file_name']: size_of(image)
        for image in split.coco['images']
        if isinstance(image.get('file_name'), str)
    }


class _Place(NamedTuple):
    """A place that is put into words only if they are shown."""

    describe: Callable[[int], str]
    row: int

    def __str__(self) -> str:
        return self.describe(self.row)


class _SplitCheck:
    """The check of one split."""

    def __init__(
        self, name: str, split: DetectionSplit, data: AnnotatedData
    ) -> None:
        self.name = name
        self.where = str(split.ann_file or f'{name} split')
        self.images: list[Record] = split.coco['images']
        self.annotations: list[Record] = split.coco['annotations']
        self.categories: list[Record] = split.coco['categories']
        self.classes = data.classes
        self.faults = data.faults

    def run(self) -> None:
        """Check all of it."""
        self._check_images()
        used = self._check_keys()
        self._check_categories(used)
        self._check_links(used)
        self._check_objects()

    def _of_image(self, row: int) -> str:
        image = self.images[row]
        return f'{self.where}: image {image.get("file_name", row)!r}'

    def _of_annotation(self, row: int) -> str:
        annotation = self.annotations[row]
        identity = annotation.get('id')
        name = f'id {identity}' if identity is not None else f'number {row}'
        shown = ''.join(
            f', {key} {annotation[key]!r}'
            for key in ('image_id', 'category_id', 'bbox')
            if key in annotation
        )
        return f'{self.where}: annotation {name}{shown}'

    def _add(self, kind: FaultKind, row: int) -> None:
        self.faults.add(kind, _Place(self._of_annotation, row))

    def _check_images(self) -> None:
        for row, image in enumerate(self.images):
            for key in ('id', 'file_name', 'width', 'height'):
                if key not in image:
                    place = f'{self._of_image(row)} lacks {key}'
                    self.faults.add(IMAGE_KEY, place)
            if 'width' in image and 'height' in image and not size_of(image):
                place = (
                    f'{self._of_image(row)}: width {image["width"]!r}, '
                    f'height {image["height"]!r}'
                )
                self.faults.add(IMAGE_SIZE, place)
            name = image.get('file_name', ' ')
            if not (isinstance(name, str) and name):
                self.faults.add(FILE_NAME, self._of_image(row))
        names = [image.get('file_name') for image in self.images]
        self._check_unique(IMAGE_IDS, 'image id', self._ids(self.images))
        self._check_unique(
            FILE_NAMES, 'file', [n for n in names if isinstance(n, str)]
        )

    def _check_keys(self) -> Counter:
        """Check the keys of annotations; count the objects by category."""
        for row, annotation in enumerate(self.annotations):
            for key in ('image_id', 'category_id', 'bbox'):
                if key not in annotation:
                    place = f'{self._of_annotation(row)} lacks {key}'
                    self.faults.add(ANNOTATION_KEY, place)
            if not (
                'id' in annotation
                and 'area' in annotation
                and 'iscrowd' in annotation
            ):
                self._add(COMPUTED_KEY, row)
            area = annotation.get('area', 1)
            if not (isinstance(area, int | float) and area > 0):
                self._add(AREA, row)
        self._check_unique(
            ANNOTATION_IDS, 'annotation id', self._ids(self.annotations)
        )
        return Counter(self._ids(self.annotations, 'category_id'))

    def _check_categories(self, used: Counter) -> None:
        for row, category in enumerate(self.categories):
            for key in ('id', 'name'):
                if key not in category:
                    place = f'{self.where}: category number {row} lacks {key}'
                    self.faults.add(CATEGORY_KEY, place)
        self._check_unique(
            CATEGORY_IDS, 'category id', self._ids(self.categories)
        )
        names = [str(c['name']) for c in self.categories if 'name' in c]
        self._check_unique(CATEGORY_NAMES, 'category', names)
        objects = dict.fromkeys(self.classes, 0)
        for category in self.categories:
            name = str(category.get('name'))
            if name in objects and is_id(category.get('id')):
                objects[name] += used[category['id']]
        if any(objects.values()):
            for name, number in objects.items():
                if not number:
                    place = f'{self.where}: {name!r}'
                    self.faults.add(UNUSED_CATEGORY, place)

    def _check_links(self, used: Counter) -> None:
        known = set(self._ids(self.images, check=False))
        of_images = set(self._ids(self.annotations, 'image_id'))
        if of_images - known:
            self._add_unknown(UNKNOWN_IMAGE, 'image_id', known)
        categories = set(self._ids(self.categories, check=False))
        if set(used) - categories:
            self._add_unknown(UNKNOWN_CATEGORY, 'category_id', categories)
        if not self.annotations:
            is_train = self.name == 'train'
            kind = NO_OBJECTS if is_train else NO_OBJECTS_EVALUATED
            self.faults.add(kind, self.where)
            return
        if all(annotation.get('iscrowd') for annotation in self.annotations):
            self.faults.add(ONLY_CROWDS, self.where)
        for row, image in enumerate(self.images):
            identity = image.get('id')
            if is_id(identity) and identity not in of_images:
                self.faults.add(WITHOUT_OBJECTS, _Place(self._of_image, row))

    def _check_objects(self) -> None:
        known = {
            image['id']: size_of(image)
            for image in self.images
            if is_id(image.get('id'))
        }
        sizes = [
            known.get(annotation.get('image_id'))
            if is_id(annotation.get('image_id'))
            else None
            for annotation in self.annotations
        ]
        positions, boxes = read_boxes(self.annotations, self._add)
        unknown = (np.nan, np.nan)
        of_boxes = [sizes[row] or unknown for row in positions.tolist()]
        check_boxes(
            positions,
            boxes,
            np.array(of_boxes, float).reshape(-1, 2),
            self._add,
            self.faults,
            self.where,
        )
        check_masks(self.annotations, sizes, self._add)

    def _ids(
        self, records: Sequence[Record], key: str = 'id', check: bool = True
    ) -> list[Hashable]:
        """The ids that are there; those of a wrong type are faults."""
        ids = [record[key] for record in records if key in record]
        if set(map(type, ids)) <= {int, str}:
            return ids
        if check:
            for identity in ids:
                if not is_id(identity):
                    place = f'{self.where}: {key} {identity!r}'
                    self.faults.add(ID_TYPE, place)
        return [identity for identity in ids if is_id(identity)]

    def _check_unique(
        self, kind: FaultKind, what: str, values: Collection[Hashable]
    ) -> None:
        if len(set(values)) == len(values):
            return
        for value, number in Counter(values).items():
            if number > 1:
                place = f'{self.where}: {what} {value!r}, {number} times'
                self.faults.add(kind, place)

    def _add_unknown(
        self, kind: FaultKind, key: str, known: Iterable[Hashable]
    ) -> None:
        for row, annotation in enumerate(self.annotations):
            value = annotation.get(key)
            if is_id(value) and value not in known:
                self._add(kind, row)
