# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""COCO files get what mmdet and pycocotools need."""

import copy
import json

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from pycocotools import mask as coco_mask

from ivit.own_data.coco_form import complete

CLASSES = ('cat', 'dog')
SQUARE = [10, 20, 30, 20, 30, 50, 10, 50]


def content(**annotation):
    objects = [
        dict(image_id=1, category_id=7, bbox=[10, 20, 20, 30], id=5),
        dict(image_id=1, category_id=3, bbox=[0, 0, 4, 8], id=9),
    ]
    for one in objects:
        one.update(dict(area=1.0, iscrowd=0) | annotation)
    return dict(
        images=[dict(id=1, file_name='a.png', width=64, height=60)],
        annotations=objects,
        categories=[dict(id=7, name='cat'), dict(id=3, name='dog')],
    )


def labels_of(coco, tmp_path, classes=CLASSES):
    """The labels that mmdet gives the objects."""
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(coco))
    dataset = CocoDataset(
        ann_file=str(path),
        data_prefix=dict(img=''),
        metainfo=dict(classes=classes),
        pipeline=[],
    )
    objects = dataset.get_data_info(0)['instances']
    return [one['bbox_label'] for one in objects]


def test_what_is_whole_stays_as_it_is(tmp_path):
    given = content()
    completed, changes = complete(given, CLASSES)
    assert completed is given
    assert changes == []
    assert labels_of(given, tmp_path) == [0, 1]


@pytest.mark.parametrize('classes', [('dog', 'cat'), ('dog',), ('cat',)])
def test_labels_are_those_of_the_classes(tmp_path, classes):
    given = content()
    before = copy.deepcopy(given)
    completed, _ = complete(given, classes)
    assert given == before
    wanted = [classes.index(n) for n in ('cat', 'dog') if n in classes]
    assert labels_of(completed, tmp_path, classes) == wanted


def test_categories_of_one_name_are_one_class(tmp_path):
    given = content()
    given['categories'].append(dict(id=8, name='cat'))
    given['annotations'].append(dict(given['annotations'][0], id=10))
    given['annotations'][-1]['category_id'] = 8
    completed, changes = complete(given, CLASSES)
    assert changes == ['categories in the order of the classes']
    assert labels_of(completed, tmp_path) == [0, 1, 0]


@pytest.mark.parametrize('ids', [(None, None), (5, 5), (None, 5)])
def test_ids_are_numbered(ids):
    given = content()
    for one, number in zip(given['annotations'], ids, strict=True):
        del one['id']
        if number is not None:
            one['id'] = number
    completed, changes = complete(given, CLASSES)
    assert [one['id'] for one in completed['annotations']] == [1, 2]
    assert changes == ['ids of annotations']


def encoded(as_text):
    mask = np.zeros((60, 64), np.uint8)
    mask[20:50, 10:30] = 1
    if not as_text:  # runs down the columns, zeros first
        runs = [60 * 10 + 20, 30]
        for _ in range(19):
            runs += [30, 30]
        runs.append(60 * 64 - sum(runs))
        return dict(size=[60, 64], counts=runs)
    rle = coco_mask.encode(np.asfortranarray(mask))
    return dict(size=rle['size'], counts=rle['counts'].decode())


@pytest.mark.parametrize(
    ('segmentation', 'area'),
    [
        (None, 600),
        ([], 600),
        ([SQUARE], 600),
        ([SQUARE, [40, 0, 50, 0, 50, 10, 40, 10]], 700),
        (encoded(True), 600),
        (encoded(False), 600),
    ],
)
def test_areas_are_computed(segmentation, area):
    given = content(segmentation=segmentation)
    for one in given['annotations']:
        del one['area']
        if segmentation is None:
            del one['segmentation']
    completed, changes = complete(given, CLASSES)
    assert changes == ['areas']
    assert completed['annotations'][0]['area'] == area


def test_nothing_is_a_crowd_unless_it_says_so():
    given = content()
    del given['annotations'][0]['iscrowd']
    given['annotations'][1]['iscrowd'] = 1
    completed, _ = complete(given, CLASSES)
    assert [one['iscrowd'] for one in completed['annotations']] == [0, 1]
