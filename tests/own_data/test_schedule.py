# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Schedules are fitted to the number of images."""

import copy
import itertools

import pytest
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from torch import nn, optim

from ivit.engine import UsageError, packaged_configs
from ivit.own_data.schedule import fit_schedule

DETECTOR = 'mask_rcnn_ivit_t_coco'
SEGMENTOR = 'upernet_ivit_t_ade20k'


def test_fewer_images_are_gone_through_more_often(config):
    cfg = config(DETECTOR)
    notes = fit_schedule(cfg, 100, 1, None)
    # 50 steps of 2 images; 1,500 of them are 30 epochs.
    assert cfg.train_cfg.max_epochs == 30
    warm_up, steps = cfg.param_scheduler
    assert (warm_up.begin, warm_up.end) == (0, 150)
    assert (steps.end, steps.milestones) == (30, [20, 28])  # 8/12, 11/12
    assert cfg.train_cfg.val_interval == 3
    assert cfg.default_hooks.checkpoint.interval == 3
    assert cfg.default_hooks.logger.interval == 50
    assert cfg.auto_scale_lr == dict(enable=True, base_batch_size=16)
    assert '30 epochs of 50 steps of 2 images' in notes[0]
    assert '2/16' in notes[1]
    assert '1.25e-05' in notes[1]


def test_a_data_set_of_cocos_size_keeps_the_schedule(config):
    cfg = config(DETECTOR)
    before = cfg.param_scheduler, cfg.train_cfg.max_epochs
    fit_schedule(cfg, 117266, 8, None)
    assert (cfg.param_scheduler, cfg.train_cfg.max_epochs) == before
    assert not cfg.auto_scale_lr.enable


@pytest.mark.parametrize(
    ('images', 'processes', 'epochs', 'steps'),
    [(12, 1, 100, 6), (12, 4, 100, 2), (3, 1, 100, 2), (1000, 1, 12, 500)],
)
def test_epochs(config, images, processes, epochs, steps):
    cfg = config(DETECTOR)
    notes = fit_schedule(cfg, images, processes, None)
    assert cfg.train_cfg.max_epochs == epochs
    assert f'{epochs} epochs of {steps} steps' in ' '.join(notes)


def test_a_batch_is_no_larger_than_the_data(config):
    cfg = config('mask_rcnn_ivit_n_shapes')
    notes = fit_schedule(cfg, 5, 2, 1)
    assert cfg.train_dataloader.batch_size == 2
    assert 'batch_size 8 -> 2' in notes[0]


def test_iterations(config):
    cfg = config(SEGMENTOR)
    fit_schedule(cfg, 40, 1, 10)
    assert cfg.train_cfg.max_iters == 200
    warm_up, poly = cfg.param_scheduler
    assert (warm_up.begin, warm_up.end) == (0, 20)
    assert (poly.begin, poly.end) == (20, 200)
    assert cfg.train_cfg.val_interval == 20
    assert cfg.default_hooks.checkpoint.interval == 20


def test_iterations_by_default(config):
    cfg = config(SEGMENTOR)
    fit_schedule(cfg, 40, 1, None)  # 20 steps an epoch
    assert cfg.train_cfg.max_iters == 100 * 20
    cfg = config(SEGMENTOR)
    fit_schedule(cfg, 20210, 8, None)  # 1,264 steps an epoch
    assert cfg.train_cfg.max_iters == 100 * 1264


def test_a_cosine_ends_where_training_does(config):
    cfg = config('upernet_ivit_n_shapes')
    fit_schedule(cfg, 160, 1, 10)
    warm_up, cosine = cfg.param_scheduler
    assert (warm_up.end, cosine.begin, cosine.end) == (10, 10, 100)
    assert cosine.T_max == 90


def test_no_warm_up_where_there_is_no_room(config):
    cfg = config('upernet_ivit_n_shapes')
    fit_schedule(cfg, 12, 1, 1)
    (cosine,) = cfg.param_scheduler
    assert (cosine.begin, cosine.end) == (0, 1)


@pytest.mark.parametrize('name', sorted(packaged_configs()))
def test_every_schedule_is_one_that_mmengine_takes(config, name):
    whole = config(name)
    init_default_scope(whole.default_scope)
    optimizer = optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    for images, epochs in itertools.product((3, 12, 1000), (1, 2, None)):
        cfg = copy.deepcopy(whole)
        assert fit_schedule(cfg, images, 1, epochs)
        for scheduler in cfg.param_scheduler:
            options = dict(scheduler, optimizer=optimizer)
            options.pop('convert_to_iter_based', None)
            assert PARAM_SCHEDULERS.build(options)


@pytest.mark.parametrize('epochs', [0, -1])
def test_epochs_that_are_none(config, epochs):
    with pytest.raises(UsageError, match=f'--epochs {epochs}'):
        fit_schedule(config(DETECTOR), 10, 1, epochs)


def test_a_loop_without_a_length():
    cfg = Config(dict(train_cfg=dict(type='My'), train_dataloader={}))
    cfg.train_dataloader = dict(batch_size=2)
    with pytest.raises(UsageError, match='max_epochs'):
        fit_schedule(cfg, 10, 1, None)
