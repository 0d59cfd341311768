# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import re

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from report_cases import Page, make_images, make_truth

pytest.importorskip('mmdet')

from ivit.report import History
from ivit.report.detection import headline, make_sections
from ivit.report.instances import (
    Instances,
    collect_samples,
    encode_masks,
    read_truth,
)

CLASSES = ('猫', '<b>dog</b> & a name that is far too long for a label')
BOX = {'coco/bbox_mAP': 0.411, 'coco/bbox_mAP_50': 0.722}
MASK = {'coco/segm_mAP': 0.366, 'coco/segm_mAP_50': -1.0}
INFOS = [
    # Right; missed; of several sizes; without objects; a wrong class.
    dict(
        size=(40, 60),
        instances=make_truth([(5, 5, 30, 30, 0)]),
        found=[(5, 5, 30, 30, 0, 0.9), (5, 5, 9, 9, 1, 0.1)],
    ),
    dict(
        size=(64, 32),
        instances=make_truth([(0, 0, 20, 20, 1), (20, 40, 32, 64, 0)]),
        found=[],
    ),
    dict(size=(30, 30), instances=[], found=[(0, 0, 10, 10, 1, 0.4)]),
    dict(size=(900, 700), instances=[], found=[]),
    dict(
        size=(40, 40),
        instances=make_truth([(5, 5, 30, 30, 0), (30, 0, 40, 9, 1)]),
        found=[(5, 5, 30, 30, 1, 0.8), (30, 0, 40, 9, 1, 0.7)],
    ),
]


def by_heading(images, history=None):
    history = history or History([], [{**BOX, 'step': 1}])
    return {s.heading: s for s in make_sections(images, history)}


def test_sections(tmp_path):
    sections = by_heading(make_images(tmp_path, CLASSES, INFOS))
    overall, classes = Page(sections['Metrics'].html()).tables
    assert overall[1] == ['Box', '0.411', '0.722', 'n/a', 'n/a', 'n/a']
    assert len(overall) == 2  # no masks
    assert classes[0] == ['', 'Objects', 'Box AP', 'Box AP50']
    # One of three found at all thresholds: recalls up to 1/3 of 101.
    assert classes[1] == [CLASSES[0], '3', f'{34 / 101:.3f}'] + [
        f'{34 / 101:.3f}'
    ]
    # Of the second class 0.8 and 0.4 are wrong, 0.7 is right: precision 1/2.
    assert classes[2] == [CLASSES[1], '2', f'{51 / 202:.3f}'] + [
        f'{51 / 202:.3f}'
    ]

    worst = Page(sections['Worst images'].html())
    assert re.findall(r'\d{3}(?=\.png)', worst.text) == ['001', '002', '004']
    assert '001.png · F1 0.00, 2 mistakes' in worst.text
    assert '004.png · F1 0.50, 2 mistakes' in worst.text
    dashed = [a for _, a in worst.found if 'stroke-dasharray' in a]
    assert len(dashed) == 2 + 1 + 2

    even = Page(sections['Ground truth and prediction'].html())
    assert even.tags.count('svg') == 10
    assert 'path' not in even.tags
    assert ' 0 objects' in even.text
    assert even.tags.count('b') == 10  # those of captions
    assert '<b>dog</b>' in even.text  # as text
    assert 'Frame: box' in sections['Ground truth and prediction'].text


def test_no_detection_at_all(tmp_path):
    infos = [info | dict(found=[]) for info in INFOS]
    history = History([], [{'step': 1}])  # as mmdet logs it
    sections = by_heading(make_images(tmp_path, CLASSES, infos), history)
    (classes,) = Page(sections['Metrics'].html()).tables
    assert [row[2:] for row in classes[1:]] == [['0.000', '0.000']] * 2
    worst = Page(sections['Worst images'].html())
    assert re.findall(r'\d{3}(?=\.png)', worst.text) == ['001', '004', '000']


def test_nothing_there_and_one_class(tmp_path):
    infos = [dict(size=(8, 8), instances=[], found=[])] * 3
    sections = by_heading(make_images(tmp_path, ('only',), infos))
    table = Page(sections['Metrics'].html()).tables[1]
    assert table[1] == ['only', '0', 'n/a', 'n/a']
    assert 'None of all 3 validation images' in sections['Worst images'].text


def test_headline():
    boxes = History([], [{**BOX, 'step': 1}])
    assert headline(boxes) == {'Box AP50': '0.722', 'Box AP': '0.411'}
    both = History([], [{**BOX, **MASK, 'step': 1}])
    assert headline(both) == {
        'Box AP50': '0.722',
        'Mask AP50': 'n/a',
        'Box AP': '0.411',
        'Mask AP': '0.366',
    }
    assert headline(History([], [])) == {'Box AP50': 'n/a', 'Box AP': 'n/a'}


def test_other_metrics_are_listed(tmp_path):
    history = History([], [{'pascal_voc/mAP': 0.5, 'step': 1}])
    sections = by_heading(make_images(tmp_path, CLASSES, INFOS), history)
    overall = Page(sections['Metrics'].html()).tables[0]
    assert overall[1:] == [['pascal_voc/mAP', '0.500']]


def test_annotated_masks_of_every_kind():
    square = np.zeros((20, 30), np.uint8, order='F')
    square[5:15, 10:20] = 1
    flat = square.ravel('F').astype(int)
    runs = np.diff(np.flatnonzero(np.diff(np.r_[-1, flat, -1])))
    masks = [
        [[10, 5, 20, 5, 20, 15, 10, 15]],
        dict(size=[20, 30], counts=[int(run) for run in runs]),
        coco_mask.encode(square),
        None,  # the box instead
    ]
    boxes = [dict(bbox=[10, 5, 20, 15], mask=mask) for mask in masks]
    for mask in encode_masks(boxes, (20, 30)):
        assert (coco_mask.decode(mask) == square).all()


def test_masks_on_one_side_are_left_out(tmp_path):
    truth = make_truth([(5, 5, 30, 30, 0)])
    truth[0]['mask'] = [[5, 5, 30, 5, 30, 30]]
    infos = [dict(size=(40, 40), instances=truth, found=[])]
    (sample,) = collect_samples(make_images(tmp_path, CLASSES, infos))
    assert sample.truth.masks is None
    assert sample.prediction.masks is None


def test_truth_and_selection():
    truth = read_truth(make_truth([(0, 0, 9, 9, 1), (1, 2, 3, 4, 0)]))
    assert truth.boxes.tolist() == [[0, 0, 9, 9], [1, 2, 3, 4]]
    assert truth.labels == [1, 0]
    found = Instances(truth.boxes, [1, 0], [0.5, 0.9], crowds={0})
    best_first = found.above(0.5)
    assert best_first.scores == [0.9, 0.5]
    assert best_first.labels == [0, 1]
    assert best_first.crowds == {1}
    assert len(found.above(0.6)) == 1
    assert len(found.above(0.95)) == 0


@pytest.mark.parametrize(
    ('info', 'message'),
    [
        (dict(instances=[]), 'predicts no instances'),
        (dict(found=[]), 'needs the annotations'),
    ],
)
def test_without_annotations_or_detections(tmp_path, info, message):
    infos = [dict(size=(8, 8), **info)]
    with pytest.raises(ValueError, match=message) as error:
        collect_samples(make_images(tmp_path, CLASSES, infos))
    assert '000.png' in str(error.value)
