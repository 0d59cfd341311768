# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Every fault of COCO annotations is found, and nothing else."""

import copy
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from ivit.annotations import AnnotatedData, DetectionSplit
from ivit.annotations.checks import boxes as of_boxes
from ivit.annotations.checks import check_detection
from ivit.annotations.checks import detection as of_ids
from ivit.annotations.checks import masks as of_masks

CLASSES = ('cat', 'dog')


def encode(width=40, height=30):
    """A mask as COCO's json has it."""
    pixels = np.zeros((height, width), np.uint8)
    pixels[5:20, 10:30] = 1
    rle = coco_mask.encode(np.asfortranarray(pixels))
    return dict(size=rle['size'], counts=rle['counts'].decode())


def make_coco(num_images=4, per_image=3):
    """Clean annotations with polygons, of images of 40 x 30."""
    images = [
        dict(id=i, file_name=f'{i}.jpg', width=40, height=30)
        for i in range(num_images)
    ]
    annotations = [
        dict(
            id=number,
            image_id=number // per_image,
            category_id=7 + number % 2,
            bbox=[10, 5, 20, 15],
            area=150.0,
            iscrowd=0,
            segmentation=[[10, 5, 30, 5, 20, 20]],
        )
        for number in range(num_images * per_image)
    ]
    categories = [dict(id=7, name='cat'), dict(id=8, name='dog')]
    return dict(images=images, annotations=annotations, categories=categories)


def find(coco, split='train'):
    """The faults by kind."""
    path = Path('photos.json')
    data = AnnotatedData(
        Path('photos'),
        'COCO',
        'detection',
        CLASSES,
        {split: DetectionSplit(Path('photos'), coco, path)},
    )
    before = copy.deepcopy(coco)
    check_detection(data)
    assert coco == before
    return {fault.kind: fault for fault in data.faults}


def annotation(key, value, row=4):
    def change(coco):
        coco['annotations'][row][key] = value

    return change


def without(records, key, row=1):
    def change(coco):
        del coco[records][row][key]

    return change


def set_value(records, key, value, row=1):
    def change(coco):
        coco[records][row][key] = value

    return change


def every(key, value):
    def change(coco):
        for one in coco['annotations']:
            one[key] = value

    return change


def drop_objects_of(key, value):
    def change(coco):
        coco['annotations'] = [
            one for one in coco['annotations'] if one[key] != value
        ]

    return change


BROKEN_RLE = dict(encode(), counts=encode()['counts'][:-3])
CASES = {
    'image lacks width': (without('images', 'width'), of_ids.IMAGE_KEY),
    'width is a text': (
        set_value('images', 'width', '40'),
        of_ids.IMAGE_SIZE,
    ),
    'height is 0': (set_value('images', 'height', 0), of_ids.IMAGE_SIZE),
    'file_name is a number': (
        set_value('images', 'file_name', 7),
        of_ids.FILE_NAME,
    ),
    'no category_id': (
        without('annotations', 'category_id'),
        of_ids.ANNOTATION_KEY,
    ),
    'no bbox': (without('annotations', 'bbox'), of_ids.ANNOTATION_KEY),
    'no area': (without('annotations', 'area'), of_ids.COMPUTED_KEY),
    'no iscrowd': (without('annotations', 'iscrowd'), of_ids.COMPUTED_KEY),
    'no id': (without('annotations', 'id'), of_ids.COMPUTED_KEY),
    'area is 0': (annotation('area', 0), of_ids.AREA),
    'area is a text': (annotation('area', '150'), of_ids.AREA),
    'id is a list': (annotation('id', [1]), of_ids.ID_TYPE),
    'image id is None': (annotation('image_id', None), of_ids.ID_TYPE),
    'annotation id twice': (annotation('id', 5), of_ids.ANNOTATION_IDS),
    'file twice': (
        set_value('images', 'file_name', '0.jpg'),
        of_ids.FILE_NAMES,
    ),
    'unknown image': (annotation('image_id', 99), of_ids.UNKNOWN_IMAGE),
    'image id as a text': (annotation('image_id', '1'), of_ids.UNKNOWN_IMAGE),
    'unknown category': (
        annotation('category_id', 9),
        of_ids.UNKNOWN_CATEGORY,
    ),
    'category without id': (
        lambda coco: coco['categories'].append(dict(name='cow')),
        of_ids.CATEGORY_KEY,
    ),
    'category without name': (
        lambda coco: coco['categories'].append(dict(id=9)),
        of_ids.CATEGORY_KEY,
    ),
    'category id twice': (
        lambda coco: coco['categories'].append(dict(id=7, name='cow')),
        of_ids.CATEGORY_IDS,
    ),
    'category name twice': (
        lambda coco: coco['categories'].append(dict(id=9, name='cat')),
        of_ids.CATEGORY_NAMES,
    ),
    'class without objects': (
        drop_objects_of('category_id', 8),
        of_ids.UNUSED_CATEGORY,
    ),
    'image without objects': (
        drop_objects_of('image_id', 3),
        of_ids.WITHOUT_OBJECTS,
    ),
    'only crowds': (every('iscrowd', 1), of_ids.ONLY_CROWDS),
    'box of texts': (
        annotation('bbox', ['10', '5', '20', '15']),
        of_boxes.UNREADABLE,
    ),
    'box of 3 numbers': (annotation('bbox', [10, 5, 20]), of_boxes.UNREADABLE),
    'box is None': (annotation('bbox', None), of_boxes.UNREADABLE),
    'NaN': (
        annotation('bbox', [10, 5, float('nan'), 15]),
        of_boxes.NOT_FINITE,
    ),
    'negative width': (
        annotation('bbox', [30, 5, -20, 15]),
        of_boxes.NEGATIVE,
    ),
    'no width': (annotation('bbox', [10, 5, 0, 15]), of_boxes.EMPTY),
    'outside': (annotation('bbox', [100, 5, 20, 15]), of_boxes.OUTSIDE),
    'over the border': (
        annotation('bbox', [30, 5, 20, 15]),
        of_boxes.PARTLY_OUTSIDE,
    ),
    'over the left border': (
        annotation('bbox', [-5, 5, 20, 15]),
        of_boxes.PARTLY_OUTSIDE,
    ),
    'corners': (every('bbox', [25, 5, 39, 20]), of_boxes.AS_CORNERS),
    'relative': (every('bbox', [0.1, 0.5, 0.2, 0.2]), of_boxes.RELATIVE),
    'a polygon of 2 points': (
        annotation('segmentation', [[1, 2, 3, 4]]),
        of_masks.FEW_POINTS,
    ),
    'an odd polygon': (
        annotation('segmentation', [[10, 5, 30, 5, 20, 20, 3]]),
        of_masks.ODD,
    ),
    'points of a polygon in lists': (
        annotation('segmentation', [[[10, 5], [30, 5], [20, 20]]]),
        of_masks.UNREADABLE,
    ),
    'a polygon without its outer list': (
        annotation('segmentation', [10, 5, 30, 5, 20, 20]),
        of_masks.UNREADABLE,
    ),
    'a polygon of texts': (
        annotation('segmentation', [['10', '5', '30', '5', '20', '20']]),
        of_masks.UNREADABLE,
    ),
    'a polygon with NaN': (
        annotation('segmentation', [[10, 5, float('nan'), 5, 20, 20]]),
        of_masks.UNREADABLE,
    ),
    'segmentation is a text': (
        annotation('segmentation', 'mask.png'),
        of_masks.UNREADABLE,
    ),
    'RLE without counts': (
        annotation('segmentation', dict(size=[30, 40])),
        of_masks.UNREADABLE,
    ),
    'RLE of another size': (
        annotation('segmentation', encode(width=30, height=40)),
        of_masks.RLE_SIZE,
    ),
    'RLE that is cut off': (
        annotation('segmentation', BROKEN_RLE),
        of_masks.RLE_BROKEN,
    ),
    'runs that are too few': (
        annotation('segmentation', dict(size=[30, 40], counts=[10, 20])),
        of_masks.RLE_BROKEN,
    ),
    'negative runs': (
        annotation('segmentation', dict(size=[30, 40], counts=[1300, -100])),
        of_masks.RLE_BROKEN,
    ),
}


def test_clean_data_has_no_fault():
    assert find(make_coco()) == {}


@pytest.mark.parametrize('form', ['RLE', 'runs', 'none'])
def test_clean_masks_of_other_forms(form):
    coco = make_coco()
    for one in coco['annotations']:
        if form == 'none':
            del one['segmentation']
        else:
            runs = dict(size=[30, 40], counts=[600, 300, 300])
            one['segmentation'] = encode() if form == 'RLE' else runs
    assert find(coco) == {}


@pytest.mark.parametrize('name', CASES)
def test_fault(name):
    change, kind = CASES[name]
    coco = make_coco(num_images=4)
    change(coco)
    found = find(coco)
    assert list(found) == [kind]
    fault = found[kind]
    assert fault.first.startswith('photos.json: ') or (
        fault.first == 'photos.json'
    )
    assert fault.kind.remedy
    assert fault.count == 1


def test_image_id_twice():
    coco = make_coco()
    coco['images'].append(dict(coco['images'][0], file_name='new.jpg'))
    (fault,) = find(coco).values()
    assert fault.kind is of_ids.IMAGE_IDS
    assert '0, 2 times' in fault.first


def test_counts_and_the_first_place():
    coco = make_coco()
    for row in (2, 5, 6):
        coco['annotations'][row]['bbox'] = [10, 5, 20, 0.5]
    (fault,) = find(coco).values()
    assert fault.count == 3
    assert fault.first == (
        'photos.json: annotation id 2, image_id 0, category_id 7, '
        'bbox [10, 5, 20, 0.5]'
    )


@pytest.mark.parametrize(
    ('split', 'kind'),
    [('train', of_ids.NO_OBJECTS), ('val', of_ids.NO_OBJECTS_EVALUATED)],
)
def test_split_without_objects(split, kind):
    assert list(find(make_coco() | dict(annotations=[]), split)) == [kind]
    assert kind.level == ('error' if split == 'train' else 'warning')


def test_few_boxes_outside_are_a_warning():
    coco = make_coco(num_images=100)  # 300 objects
    for row in range(3):
        coco['annotations'][row]['bbox'] = [50, 5, 20, 15]
    assert list(find(coco)) == [of_boxes.FEW_OUTSIDE]
    coco['annotations'][3]['bbox'] = [50, 5, 20, 15]
    assert list(find(coco)) == [of_boxes.OUTSIDE]
    assert of_boxes.FEW_OUTSIDE.level == 'warning'
    assert of_boxes.OUTSIDE.level == 'error'


def test_corners_only_if_all_boxes_fit_as_corners():
    coco = make_coco()
    rows = coco['annotations']
    for row in rows:
        row['bbox'] = [25, 5, 39, 20]
    rows[0]['bbox'] = [25, 5, 10, 20]  # its second corner is left of the first
    assert list(find(coco)) == [of_boxes.PARTLY_OUTSIDE]


def test_a_pixel_over_the_border_is_rounding():
    coco = make_coco()
    coco['annotations'][0]['bbox'] = [-1, -1, 42, 32]
    assert find(coco) == {}


def test_masks_of_some():
    coco = make_coco()
    coco['annotations'][0]['segmentation'] = []
    del coco['annotations'][1]['segmentation']
    found = find(coco)
    assert found[of_masks.EMPTY].count == 1
    assert found[of_masks.SOME_WITHOUT_MASK].count == 2


def test_empty_masks_of_all():
    coco = make_coco()
    for one in coco['annotations']:
        one['segmentation'] = []
    (fault,) = find(coco).values()
    assert fault.kind is of_masks.EMPTY
    assert fault.count == 12


def test_categories_that_are_not_trained_on():
    coco = make_coco()
    coco['categories'].append(dict(id=0, name='animals'))
    assert find(coco) == {}


def test_several_at_once():
    coco = make_coco()
    CASES['no width'][0](coco)
    CASES['unknown category'][0](coco)
    CASES['height is 0'][0](coco)
    found = find(coco)
    assert found.keys() == {
        of_boxes.EMPTY,
        of_ids.UNKNOWN_CATEGORY,
        of_ids.IMAGE_SIZE,
    }
