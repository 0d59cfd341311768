# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import json
import math
from types import SimpleNamespace

import pytest
from mmengine.hooks import Hook, LoggerHook

from ivit.report import History

TRAIN = {'loss': 2.5, 'loss_cls': 1.5, 'lr': 0.001, 'epoch': 1, 'step': 25}
VAL = {
    'coco/bbox_mAP': 0.25,
    'coco/bbox_mAP_50': 0.5004,
    'coco/bbox_mAP_l': -1.0,
    'coco/star_precision': math.nan,
    'step': 1,
}


def write(folder, *records):
    (folder / 'vis_data').mkdir()
    lines = [json.dumps(record) + '\n' for record in records]
    (folder / 'vis_data' / 'scalars.json').write_text(''.join(lines))


def test_train_and_val_records(tmp_path):
    later = {**TRAIN, 'step': 50}
    write(tmp_path, TRAIN, VAL | {'coco/star_precision': 0.1}, later)
    history = History.read(tmp_path)
    assert history.train == [TRAIN, later]
    assert history.val == [VAL | {'coco/star_precision': 0.1}]


def test_metrics_of_the_last_evaluation(tmp_path):
    write(tmp_path, VAL | {'coco/bbox_mAP_50': 0.1}, VAL)
    history = History.read(str(tmp_path))
    assert history.metric('coco/bbox_mAP_50') == 0.5004
    assert history.shown('coco/bbox_mAP_50') == '0.500'
    assert history.shown('coco/bbox_mAP_50', 1) == '0.5'


@pytest.mark.parametrize(
    'name', ['coco/bbox_mAP_l', 'coco/star_precision', 'coco/segm_mAP_50']
)
def test_nothing_to_measure(tmp_path, name):
    write(tmp_path, TRAIN, VAL)
    history = History.read(tmp_path)
    assert history.metric(name) is None
    assert history.shown(name) == 'n/a'


def test_no_evaluation_at_all(tmp_path):
    write(tmp_path, TRAIN)
    assert History.read(tmp_path).shown('mIoU') == 'n/a'


def test_names_of_all_evaluations(tmp_path):
    times = {'time': 0.1, 'data_time': 0.1}
    write(tmp_path, {'mIoU': 5.0, 'step': 9, **times}, {'mAcc': 1, 'step': 18})
    assert History.read(tmp_path).names() == ['mIoU', 'mAcc']


@pytest.mark.parametrize(
    ('by_epoch', 'unit'), [(True, 'epoch'), (False, 'iteration')]
)
def test_unit_of_the_steps(tmp_path, by_epoch, unit):
    write(tmp_path, VAL)
    hooks = [LoggerHook(log_metric_by_epoch=by_epoch), Hook()]
    runner = SimpleNamespace(log_dir=str(tmp_path), hooks=hooks)
    assert History.of_runner(runner).unit == unit


def test_no_scalars(tmp_path):
    with pytest.raises(ValueError, match='scalars.json not found') as info:
        History.read(tmp_path)
    assert str(tmp_path) in str(info.value)
    assert 'LocalVisBackend' in str(info.value)
