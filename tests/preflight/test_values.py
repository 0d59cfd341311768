# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Values that data sets and evaluators fail on end in one line."""

import copy

import pytest
import user_data as data
from mmengine.config import Config

from ivit.preflight import check_config


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return data.write_data(tmp_path_factory.mktemp('values') / 'base')


def set_train(**options):
    return lambda cfg: replace(cfg.train_dataloader.dataset, options)


def set_val(**options):
    return lambda cfg: replace(cfg.val_dataloader.dataset, options)


def replace(node, options):
    for key, value in options.items():  # update() merges what is nested
        node[key] = value


def set_loader(phase, **options):
    return lambda cfg: cfg[f'{phase}_dataloader'].update(options)


def drop(*keys):
    def change(cfg):
        node = cfg
        for key in keys[:-1]:
            node = node[key]
        node.pop(keys[-1])

    return change


def leave_masks_out(cfg):
    cfg.model.roi_head.mask_head = None


def set_zero_label(cfg):
    for step in cfg.train_dataloader.dataset.pipeline:
        if step.type == 'LoadAnnotations':
            step.reduce_zero_label = True


def join_other_classes(cfg):
    first = cfg.train_dataloader.dataset
    other = copy.deepcopy(first)
    other.metainfo.classes = first.metainfo.classes[::-1]
    cfg.train_dataloader.dataset = dict(
        type='ConcatDataset', datasets=[first, other]
    )


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (set_train(metainfo=dict(classes='cat')), ["('cat',)"]),
        (set_train(metainfo=dict(classes=3)), ['classes=3', 'tuple']),
        (set_train(metainfo=['cat', 'dog']), ["['cat', 'dog']", 'dict']),
        (set_train(metainfo=dict(classes=('cat', 'cat'))), ["'cat'", 'once']),
        (set_train(annfile='train.json'), ["'annfile'", 'CocoDataset']),
        (set_train(data_prefix=dict(img_path='images')), ["'img_path'"]),
        (set_train(ann_file=None), ['train_dataloader', 'ann_file']),
        (drop('val_evaluator'), ['val_evaluator', 'val_cfg']),
        (drop('train_dataloader', 'sampler'), ['sampler', 'shuffle=True']),
        (
            set_loader('val', sampler=dict(type='InfiniteSampler')),
            ['val_dataloader', 'never ends'],
        ),
        (set_loader('train', dataset=[]), ['ConcatDataset']),
        (
            set_loader('train', batch_size=99, drop_last=True),
            ['batch_size=99', 'drop_last'],
        ),
        (
            lambda cfg: cfg.val_evaluator.update(metric=['bbox', 'seg']),
            ['val_evaluator', 'seg', "'segm'"],
        ),
        (
            lambda cfg: cfg.val_evaluator.update(ann_file=['a.json']),
            ['val_evaluator', 'a.json'],
        ),
        (leave_masks_out, ['segm', 'mask_head', "metric='bbox'"]),
        (
            drop('model', 'roi_head', 'bbox_head', 'num_classes'),
            ['bbox_head.num_classes=80', '3 classes'],
        ),
        (
            lambda cfg: cfg.model.roi_head.bbox_head.loss_cls.update(
                class_weight=[1.0, 2.0]
            ),
            ['loss_cls.class_weight', '2 weights', '3 classes'],
        ),
        (join_other_classes, ['order', "'cat'"]),
    ],
)
def test_detectors(root, change, words):
    refuses(data.detection_config(root), change, words)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (
            set_val(
                metainfo=dict(classes=('cat', 'dog', 'bird', 'background'))
            ),
            ['order', "'background'"],
        ),
        (set_train(data_prefix=dict(img='images/train')), ["'img'"]),
        (
            set_train(data_prefix=dict(img_path='images/train', seg='labels')),
            ["'seg'", "'seg_map_path'"],
        ),
        (set_zero_label, ['reduce_zero_label=False', 'LoadAnnotations']),
    ],
)
def test_segmentors(root, change, words):
    refuses(data.segmentation_config(root), change, words)


def refuses(cfg, change, words):
    cfg = Config(cfg.to_dict())
    change(cfg)
    with pytest.raises(ValueError) as caught:
        check_config(cfg, ('train', 'val'))
    message = str(caught.value)
    assert '\n' not in message
    for word in words:
        assert word in message
