# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Check the objects of a COCO dict, in one pass."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from pycocotools import mask as coco_mask

from ..faults import FaultKind, Faults
from ..records import AnnotatedData, DetectionSplit
from .images import ExpectedImage

LACKS_KEY = FaultKind(
    'error', 'a key is missing', 'Every entry of a COCO file needs it.'
)
NO_SIZE = FaultKind(
    'error',
    'an image has no width and height',
    'Add them, in pixels, to the entries of images.',
)
COMPUTABLE = FaultKind(
    'warning',
    'annotations lack area, iscrowd or an id of their own',
    'They are computed by `ivit train --data`; mmdet alone stops at them.',
)
SAME_IMAGE_ID = FaultKind(
    'error', 'two images have one id', 'Give each its own.'
)
SAME_FILE = FaultKind(
    'warning',
    'two images have one file',
    'Join them: each has only its own objects, and the others look like '
    'background.',
)
NO_IMAGE = FaultKind(
    'error',
    'an object is in an image that is not listed',
    'Correct its image_id, or add the image.',
)
NO_CATEGORY = FaultKind(
    'error',
    'an object is of a category that is not listed',
    'Correct its category_id, or add the category.',
)
SAME_CATEGORY_ID = FaultKind(
    'error', 'two categories have one id', 'Give each its own.'
)
SAME_CATEGORY_NAME = FaultKind(
    'warning',
    'two categories have one name',
    'They become one class.',
)
NO_BOX = FaultKind(
    'error',
    'a box is not four finite numbers',
    'COCO wants bbox=[x, y, width, height], in pixels.',
)
EMPTY_BOX = FaultKind(
    'warning',
    'a box is empty',
    'mmdet leaves it out: correct or remove it.',
)
OUTSIDE = FaultKind(
    'error',
    'a box is outside of its image',
    'Is the image another one, or another size?',
)
PARTLY_OUTSIDE = FaultKind(
    'warning', 'a box leaves its image', 'It is cut at the border.'
)
CORNERS = FaultKind(
    'error',
    'boxes are x1, y1, x2, y2',
    'COCO wants x, y, width, height: subtract x1 and y1 from x2 and y2.',
)
BAD_POLYGON = FaultKind(
    'error',
    'a polygon is no list of three or more points',
    'It wants [x1, y1, x2, y2, x3, y3, ...]: an even number, 6 at least.',
)
BAD_RLE = FaultKind(
    'error',
    'a run-length encoded mask is not of its image',
    "Its 'size' is [height, width] of the image, and its counts add up to "
    'that.',
)
NO_MASKS = FaultKind(
    'error',
    'objects have boxes without masks',
    'A model with masks needs one for every object. Take a model for boxes, '
    'such as retinanet_ivit_t_coco, or leave the mask head out: `ivit train '
    '--data` does.',
)
ALL_CROWD = FaultKind(
    'warning',
    'every object is iscrowd',
    'Such regions are left out of training, so nothing is learnt. Set '
    'iscrowd to 0 for single objects.',
)
NO_OBJECT = FaultKind(
    'error',
    'there is no object to train on',
    'Is it the right annotation file?',
)
NO_OBJECT_VAL = FaultKind(
    'warning', 'there is no object to validate on', 'AP cannot be computed.'
)
WITHOUT_OBJECTS = FaultKind(
    'warning',
    'image has no object',
    'It is left out of training by filter_empty_gt; in validation every '
    'detection in it counts as wrong.',
)
UNUSED_CATEGORY = FaultKind(
    'warning', 'category has no object', 'Nothing is learnt of it.'
)
# So many boxes that leave their images as x, y, width, height, and none as
# two corners, are taken for corners.
FEW = 3


def check_detection(data: AnnotatedData, masks: bool | None = None) -> None:
    """Check the objects of every split.

    Args:
        data: A detection data set; its ``faults`` get what is wrong.
        masks: Whether every object needs a mask. By default they do where
            some have one.
    """
    for name, split in data.splits.items():
        if isinstance(split, DetectionSplit):
            _SplitCheck(name, split, data.faults).run(masks)


def expected_images(split: DetectionSplit) -> list[ExpectedImage]:
    """The images of a split, with the sizes that it gives them."""
    images = []
    for image in split.coco['images']:
        size = image.get('width'), image.get('height')
        name = image.get('file_name')
        if isinstance(name, str):
            path = split.image_root / name
            images.append(ExpectedImage(path, None if None in size else size))
    return images


class _SplitCheck:
    """The check of one split, whose places are told by its file."""

    def __init__(
        self, name: str, split: DetectionSplit, faults: Faults
    ) -> None:
        self.name = name
        self.coco = split.coco
        self.file = split.ann_file or f'{split.image_root} ({name})'
        self.faults = faults

    def add(self, kind: FaultKind, what: str) -> None:
        self.faults.add(kind, f'{self.file}: {what}')

    def run(self, masks: bool | None) -> None:
        sizes = self._check_images()
        categories = self._check_categories()
        annotations = self.coco['annotations']
        used: set[Hashable] = set()
        occupied: set[Hashable] = set()
        ids = Counter(a.get('id') for a in annotations)
        incomplete = len(ids) < len(annotations) or None in ids
        leaving = cornered = without_mask = 0
        for number, annotation in enumerate(annotations):
            place = f'annotation {annotation.get("id", f"number {number}")}'
            absent = [
                key
                for key in ('image_id', 'category_id', 'bbox')
                if key not in annotation
            ]
            if absent:
                self.add(LACKS_KEY, f'{place} has no {", ".join(absent)}')
                continue
            incomplete |= 'area' not in annotation
            incomplete |= 'iscrowd' not in annotation
            image, category = annotation['image_id'], annotation['category_id']
            occupied.add(image)
            used.add(category)
            if category not in categories:
                self.add(NO_CATEGORY, f'{place}, category_id {category!r}')
            if image not in sizes:
                self.add(NO_IMAGE, f'{place}, image_id {image!r}')
                continue
            size = sizes[image]
            kind = _judge_box(annotation['bbox'], size)
            if kind is not None:
                self.add(kind, f'{place}, bbox {annotation["bbox"]}')
            if kind in (OUTSIDE, PARTLY_OUTSIDE):
                leaving += 1
                cornered += _fits_as_corners(annotation['bbox'], size)
            segmentation = annotation.get('segmentation')
            if not segmentation:
                without_mask += 1
            else:
                self._check_mask(segmentation, size, place)
        if leaving >= FEW and leaving == cornered:
            self.add(CORNERS, f'{leaving} boxes leave their images')
        some_have_masks = 0 < without_mask < len(annotations)
        if without_mask and (some_have_masks if masks is None else masks):
            self.add(NO_MASKS, f'{without_mask} of {len(annotations)} objects')
        if incomplete:
            self.add(COMPUTABLE, _what_is_absent(annotations))
        self._check_counts(annotations, sizes, occupied)
        for key in categories.keys() - used:
            self.add(UNUSED_CATEGORY, repr(categories[key]))

    def _check_images(self) -> dict[Hashable, tuple[int, int] | None]:
        """The height and width of each image by its id."""
        sizes: dict[Hashable, tuple[int, int] | None] = {}
        names = set()
        for number, image in enumerate(self.coco['images']):
            place = f'image {image.get("file_name", f"number {number}")}'
            absent = [key for key in ('id', 'file_name') if key not in image]
            if absent:
                self.add(LACKS_KEY, f'{place} has no {", ".join(absent)}')
                continue
            if image['id'] in sizes:
                self.add(SAME_IMAGE_ID, f'{place}, id {image["id"]}')
            if image['file_name'] in names:
                self.add(SAME_FILE, place)
            names.add(image['file_name'])
            size = image.get('height'), image.get('width')
            if not all(isinstance(n, int) and n > 0 for n in size):
                self.add(NO_SIZE, place)
            sizes[image['id']] = None if None in size else size
        return sizes

    def _check_categories(self) -> dict[Hashable, str]:
        """The name of each category by its id."""
        names: dict[Hashable, str] = {}
        for category in self.coco['categories']:
            if 'id' not in category or 'name' not in category:
                self.add(LACKS_KEY, f'category {category}: id, name')
                continue
            if category['id'] in names:
                self.add(SAME_CATEGORY_ID, f'id {category["id"]}')
            if category['name'] in names.values():
                self.add(SAME_CATEGORY_NAME, repr(category['name']))
            names[category['id']] = category['name']
        return names

    def _check_mask(
        self, mask: Any, size: tuple[int, int] | None, place: str
    ) -> None:
        if isinstance(mask, Mapping):
            if not _is_rle(mask, size):
                given = mask.get('size')
                self.add(BAD_RLE, f'{place}, size {given}, image {size}')
            return
        if not isinstance(mask, list) or not all(map(_is_polygon, mask)):
            self.add(BAD_POLYGON, place)

    def _check_counts(
        self,
        annotations: list[dict[str, Any]],
        sizes: Mapping[Hashable, Any],
        occupied: set[Hashable],
    ) -> None:
        if not annotations:
            is_train = self.name == 'train'
            kind = NO_OBJECT if is_train else NO_OBJECT_VAL
            self.add(kind, f'{len(sizes)} images for {self.name}')
            return
        if all(annotation.get('iscrowd') for annotation in annotations):
            self.add(ALL_CROWD, f'{len(annotations)} objects')
        for image in sizes.keys() - occupied:
            self.add(WITHOUT_OBJECTS, f'image id {image!r}')


def _judge_box(box: Any, size: tuple[int, int] | None) -> FaultKind | None:
    """What is wrong with a box ``x, y, width, height``."""
    if not isinstance(box, (list, tuple)) or len(box) != 4:
        return NO_BOX
    if not all(isinstance(n, (int, float)) and math.isfinite(n) for n in box):
        return NO_BOX
    x, y, width, height = box
    if width <= 0 or height <= 0:
        return EMPTY_BOX
    if size is None:
        return None
    if x >= size[1] or y >= size[0] or x + width <= 0 or y + height <= 0:
        return OUTSIDE
    # A pixel more is rounding.
    if x < -1 or y < -1 or x + width > size[1] + 1 or y + height > size[0] + 1:
        return PARTLY_OUTSIDE
    return None


def _fits_as_corners(
    box: Iterable[float], size: tuple[int, int] | None
) -> bool:
    """Whether a box lies in its image if it is read as two corners."""
    left, top, right, bottom = box
    return (
        size is not None
        and 0 <= left < right <= size[1] + 1
        and 0 <= top < bottom <= size[0] + 1
    )


def _is_polygon(points: Any) -> bool:
    return (
        isinstance(points, list)
        and len(points) >= 6
        and len(points) % 2 == 0
        and all(isinstance(n, (int, float)) for n in points)
    )


def _is_rle(mask: Mapping[str, Any], size: tuple[int, int] | None) -> bool:
    """Whether a mask in run lengths is of the size of its image."""
    counts, own = mask.get('counts'), mask.get('size')
    if not isinstance(own, (list, tuple)) or len(own) != 2:
        return False
    if size is not None and tuple(own) != size:
        return False
    if isinstance(counts, list):
        return sum(counts) == own[0] * own[1]
    try:
        coco_mask.area({'size': list(own), 'counts': counts})
    except (TypeError, ValueError, AttributeError):
        return False
    return True


def _what_is_absent(annotations: list[dict[str, Any]]) -> str:
    """Which of the keys that can be computed are missing, and how often."""
    absent = {
        key: sum(key not in annotation for annotation in annotations)
        for key in ('area', 'iscrowd', 'id')
    }
    parts = [f'{key} {count} times' for key, count in absent.items() if count]
    return 'without ' + ', '.join(parts) if parts else 'ids occur twice'
