# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import math
import re
import xml.etree.ElementTree as ET

import pytest

from ivit.report import History
from ivit.report.curves import draw_curves

PRECISION = 'Average precision, validation'
TRAIN = [
    {
        'loss': 3 / step,
        'loss_rpn_cls': 1 / step,
        'decode.loss_ce': 2 / step,
        'decode.acc_seg': 50.0,
        'lr': 0.001,
        'step': step,
    }
    for step in range(1, 40)
]


def labels(svg):
    """The texts, which matplotlib keeps as comments beside their outlines."""
    return re.findall(r'<!-- (.*?) -->', svg)


def test_training():
    pictures = draw_curves(History(TRAIN, []))
    assert list(pictures) == ['Loss', 'Learning rate']
    found = labels(pictures['Loss'])
    assert {'total', 'rpn cls', 'decode.ce', 'iteration'} <= set(found)
    assert not any('acc' in label for label in found)


@pytest.mark.parametrize('kinds', [['bbox'], ['bbox', 'segm']])
def test_precision_of_what_was_evaluated(kinds):
    val = [
        {f'coco/{kind}_{name}': 0.1 * step for kind in kinds for name in names}
        | {'coco/cat_precision': 0.5, 'step': step}
        for names in [('mAP', 'mAP_50', 'mAP_s')]
        for step in (1, 2)
    ]
    pictures = draw_curves(History([], val))
    assert list(pictures) == [PRECISION]
    found = set(labels(pictures[PRECISION]))
    assert {'box AP', 'box AP50', 'epoch'} <= found
    assert ('mask AP' in found) == ('segm' in kinds)


def test_metrics_of_other_tasks():
    record = {'mIoU': 40.0, 'mAcc': 50.0, 'accuracy/top1': 70.0}
    val = [{**record, 'step': step, 'time': 1.0} for step in (500, 1000)]
    pictures = draw_curves(History([], val, 'iteration'))
    assert list(pictures) == ['Metrics, validation', 'accuracy, validation']
    found = labels(pictures['Metrics, validation'])
    assert {'mIoU', 'mAcc', 'iteration'} <= set(found)
    assert 'time' not in found
    assert 'top1' in labels(pictures['accuracy, validation'])


@pytest.mark.parametrize('value', [math.nan, math.inf, -1.0])
def test_nothing_to_draw(value):
    pictures = draw_curves(History([], [{'coco/bbox_mAP': value, 'step': 1}]))
    assert pictures == {}


def test_a_training_that_went_wrong():
    records = [dict(TRAIN[0], loss=math.nan, loss_rpn_cls=math.inf)]
    for svg in draw_curves(History(records, [])).values():
        ET.fromstring(svg)


def test_nothing_comes_from_outside():
    for svg in draw_curves(
        History(TRAIN, [{'mIoU': 1.0, 'step': 1}])
    ).values():
        assert svg.rstrip().endswith('</svg>')
        assert not re.search(r'(src|href)="(?!#)', svg)
