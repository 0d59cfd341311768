# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Check COCO annotations: ids, keys, boxes, masks and categories."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from ..coco_values import is_id, size_of
from ..faults import FaultKind
from ..image_files import Size
from ..records import AnnotatedData, DetectionSplit
from .boxes import check_boxes, read_boxes
from .coco_kinds import (
    ANNOTATION_IDS,
    ANNOTATION_KEY,
    AREA,
    CATEGORY_IDS,
    CATEGORY_KEY,
    CATEGORY_NAME,
    CATEGORY_NAMES,
    COMPUTED_KEY,
    CROWD,
    FILE_NAME,
    FILE_NAMES,
    ID_TYPE,
    IMAGE_IDS,
    IMAGE_KEY,
    IMAGE_SIZE,
    NO_OBJECTS,
    NO_OBJECTS_EVALUATED,
    ONLY_CROWDS,
    UNKNOWN_CATEGORY,
    UNKNOWN_IMAGE,
    UNUSED_CATEGORY,
    WITHOUT_OBJECTS,
)
from .masks import check_masks

Record = dict[str, Any]
Identity = int | str | None
ANNOTATION_KEYS = (
    'id',
    'image_id',
    'category_id',
    'bbox',
    'area',
    'iscrowd',
)


def check_detection(data: AnnotatedData) -> None:
    """Count the faults in the annotations of all splits.

    Args:
        data: Its ``faults`` are added to.
    """
    for name, split in data.splits.items():
        if isinstance(split, DetectionSplit):
            _SplitCheck(name, split, data).run()


def annotated_sizes(split: DetectionSplit) -> dict[str, Size | None]:
    """The paths of images, each with its annotated size."""
    root = str(split.image_root)
    return {
        os.path.join(root, image['file_name']): size_of(image)
        for image in split.coco['images']
        if isinstance(image.get('file_name'), str) and image['file_name']
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
        self.columns = _read_columns(self.annotations, ANNOTATION_KEYS)
        self.classes = data.classes
        self.faults = data.faults

    def run(self) -> None:
        """Check all of it."""
        image_ids = self._ids(self.annotations, 'image_id')
        category_ids = self._ids(self.annotations, 'category_id')
        images: dict[Identity, int] = {
            identity: row
            for row, identity in enumerate(self._ids(self.images, 'id'))
            if identity is not None
        }
        self._check_images()
        self._check_keys()
        self._check_values()
        self._check_categories(Counter(category_ids))
        self._check_images_of_objects(images, image_ids)
        self._check_categories_of_objects(category_ids)
        self._check_objects(
            [images.get(identity, -1) for identity in image_ids]
        )

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
        self._check_unique(IMAGE_IDS, 'image id', _column(self.images, 'id'))
        self._check_unique(
            FILE_NAMES,
            'file',
            [os.path.normpath(n) for n in names if isinstance(n, str) and n],
        )

    def _check_keys(self) -> None:
        for key in ('image_id', 'category_id', 'bbox'):
            if None not in self.columns[key]:
                continue
            for row, annotation in enumerate(self.annotations):
                if key not in annotation:
                    place = f'{self._of_annotation(row)} lacks {key}'
                    self.faults.add(ANNOTATION_KEY, place)
        computed = ('id', 'area', 'iscrowd')
        if any(None in self.columns[key] for key in computed):
            for row, annotation in enumerate(self.annotations):
                if not annotation.keys() >= set(computed):
                    self._add(COMPUTED_KEY, row)

    def _check_values(self) -> None:
        """Check the values beside ids, boxes and masks."""
        self._check_unique(
            ANNOTATION_IDS,
            'annotation id',
            self._ids(self.annotations, 'id'),
        )
        areas = self.columns['area']
        if not (
            set(map(type, areas)) <= {int, float} and all(a > 0 for a in areas)
        ):
            for row, annotation in enumerate(self.annotations):
                area = annotation.get('area', 1)
                if not (isinstance(area, int | float) and area > 0):
                    self._add(AREA, row)
        crowds = self.columns['iscrowd']
        if not (
            set(map(type, crowds)) <= {int, bool} and set(crowds) <= {0, 1}
        ):
            for row, annotation in enumerate(self.annotations):
                crowd = annotation.get('iscrowd', 0)
                if type(crowd) not in (int, bool) or crowd not in (0, 1):
                    self._add(CROWD, row)

    def _check_categories(self, used: Counter) -> None:
        for row, category in enumerate(self.categories):
            for key in ('id', 'name'):
                if key not in category:
                    place = f'{self.where}: category number {row} lacks {key}'
                    self.faults.add(CATEGORY_KEY, place)
            name = category.get('name', ' ')
            if not (isinstance(name, str) and name):
                place = f'{self.where}: name {name!r}'
                self.faults.add(CATEGORY_NAME, place)
        self._check_unique(
            CATEGORY_IDS, 'category id', self._ids(self.categories, 'id')
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

    def _check_images_of_objects(
        self, images: Mapping[Identity, int], image_ids: Sequence[Identity]
    ) -> None:
        """Check that objects are on images, and images have objects.

        Args:
            images: The positions of images by their ids.
            image_ids: The image of each annotation; None if it is no id.
        """
        if not self.annotations:
            is_train = self.name == 'train'
            kind = NO_OBJECTS if is_train else NO_OBJECTS_EVALUATED
            self.faults.add(kind, self.where)
            return
        if all(annotation.get('iscrowd') for annotation in self.annotations):
            self.faults.add(ONLY_CROWDS, self.where)
        of_images = set(image_ids)
        self._add_unknown(UNKNOWN_IMAGE, image_ids, of_images - images.keys())
        for identity, row in images.items():
            if identity not in of_images:
                self.faults.add(WITHOUT_OBJECTS, _Place(self._of_image, row))

    def _check_categories_of_objects(
        self, category_ids: Sequence[Identity]
    ) -> None:
        known = set(_valid_ids(_column(self.categories, 'id')))
        self._add_unknown(
            UNKNOWN_CATEGORY, category_ids, set(category_ids) - known
        )

    def _check_objects(self, image_rows: Sequence[int]) -> None:
        """Check boxes and masks.

        Args:
            image_rows: The position of the image of each annotation; -1 if
                it is not there.
        """
        # What is not there has the last size.
        sizes = [*map(size_of, self.images), None]
        table = np.array(
            [size or (np.nan, np.nan) for size in sizes], float
        ).reshape(-1, 2)
        positions, boxes = read_boxes(self.annotations, self._add)
        check_boxes(
            positions,
            boxes,
            table[np.array(image_rows, int)[positions]],
            self._add,
            self.faults,
            self.where,
        )
        of_masks = [sizes[row] for row in image_rows]
        check_masks(self.annotations, of_masks, self._add)

    def _ids(self, records: Sequence[Record], key: str) -> Sequence[Identity]:
        """The ids; None, and a fault, for those of a wrong type."""
        of_annotations = records is self.annotations
        ids = self.columns[key] if of_annotations else _column(records, key)
        if set(map(type, ids)) <= {int, str}:
            return ids
        for record in records:
            if key in record and not is_id(record[key]):
                place = f'{self.where}: {key} {record[key]!r}'
                self.faults.add(ID_TYPE, place)
        return [value if is_id(value) else None for value in ids]

    def _check_unique(
        self, kind: FaultKind, what: str, values: Sequence[Any]
    ) -> None:
        values = _valid_ids(values)
        if len(set(values)) == len(values):
            return
        for value, number in Counter(values).items():
            if number > 1:
                place = f'{self.where}: {what} {value!r}, {number} times'
                self.faults.add(kind, place)

    def _add_unknown(
        self,
        kind: FaultKind,
        ids: Sequence[Identity],
        unknown: Set[Identity],
    ) -> None:
        """Count annotations with an id that is not known."""
        if unknown - {None}:
            for row, identity in enumerate(ids):
                if identity is not None and identity in unknown:
                    self._add(kind, row)


def _read_columns(
    records: Sequence[Record], keys: Sequence[str]
) -> dict[str, Sequence[Any]]:
    """Some values of each record; None where there is none."""
    try:
        # One visit to each record is several times as fast as one a key.
        rows = list(map(itemgetter(*keys), records))
    except KeyError:
        return {key: _column(records, key) for key in keys}
    columns = list(zip(*rows, strict=True)) or [()] * len(keys)
    return dict(zip(keys, columns, strict=True))


def _column(records: Sequence[Record], key: str) -> list[Any]:
    """A value of each record; None where there is none."""
    return [record.get(key) for record in records]


def _valid_ids(values: Sequence[Any]) -> Sequence[Any]:
    """The values that can be ids."""
    if set(map(type, values)) <= {int, str}:
        return values
    return [value for value in values if is_id(value)]
