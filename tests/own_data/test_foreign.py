# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Configs that were written for annotations of other forms."""

import pytest

from ivit.engine import UsageError
from ivit.own_data import fit_config

DETECTOR = 'mask_rcnn_ivit_n_shapes'


@pytest.mark.parametrize(
    ('step', 'words'),
    [
        (dict(type='LoadProposals'), ['LoadProposals', 'another detector']),
        (
            dict(type='mmdet.LoadPanopticAnnotations', with_seg=True),
            ['LoadPanopticAnnotations', 'panoptic'],
        ),
        (
            dict(type='LoadAnnotations', with_bbox=True, with_seg=True),
            ['LoadAnnotations', 'label maps'],
        ),
    ],
)
def test_steps_that_load_something_else(read, config, step, words):
    cfg = config(DETECTOR)
    cfg.train_dataloader.dataset.pipeline.append(step)
    with pytest.raises(UsageError) as caught:
        fit_config(cfg, read('coco'))
    for word in words:
        assert word in str(caught.value)


def test_a_sampler_of_several_data_sets(read, config):
    cfg = config(DETECTOR)
    cfg.train_dataloader.sampler = dict(type='mmdet.MultiSourceSampler')
    with pytest.raises(UsageError, match='MultiSourceSampler'):
        fit_config(cfg, read('coco'))


def test_evaluators_of_other_forms(read, config):
    cfg = config(DETECTOR)
    cfg.val_evaluator = dict(type='VOCMetric', metric='mAP')
    cfg.test_evaluator = [
        dict(type='CocoMetric', ann_file='a.json', metric='bbox'),
        dict(type='CityScapesMetric', seg_prefix='data'),
    ]
    notes = fit_config(cfg, read('coco'))
    assert 'evaluators: VOCMetric -> CocoMetric' in notes
    assert 'evaluators: CityScapesMetric -> CocoMetric' in notes
    (val,), (test,) = cfg.val_evaluator, cfg.test_evaluator
    assert val['metric'] == ['bbox', 'segm']
    assert 'instances_val2017' in val['ann_file']
    assert test['metric'] == 'bbox'
    assert 'instances_test2017' in test['ann_file']


@pytest.mark.parametrize(
    ('epochs', 'wanted'), [(None, 300), (5, 5)], ids=['default', '5']
)
def test_an_epoch_goes_through_the_images_once(read, config, epochs, wanted):
    cfg = config(DETECTOR)
    inner = cfg.train_dataloader.dataset
    cfg.train_cfg.max_epochs = 100
    cfg.train_dataloader.dataset = dict(
        type='MultiImageMixDataset',
        dataset=dict(type='RepeatDataset', times=3, dataset=inner),
        pipeline=[],
    )
    fit_config(cfg, read('coco'), epochs=epochs)
    outer = cfg.train_dataloader.dataset
    assert outer['type'] == 'MultiImageMixDataset'
    assert outer['dataset']['type'] == 'CocoDataset'
    assert cfg.train_cfg.max_epochs == wanted


def test_a_detector_of_boxes_does_not_want_masks(read, config):
    """Its pipeline may load them all the same."""
    cfg = config('retinanet_ivit_n_shapes')
    for step in cfg.train_dataloader.dataset.pipeline:
        if step.type == 'LoadAnnotations':
            step.with_mask = True
    notes = fit_config(cfg, read('yolo'))
    assert any('no object has a mask' in note for note in notes)
    assert not any(
        step.get('with_mask') for step in cfg.train_dataloader.dataset.pipeline
    )


def test_masks_in_one_split_alone(read, config):
    data = read('coco')
    for annotation in data.splits['val'].coco['annotations']:
        annotation['segmentation'] = []
    with pytest.raises(UsageError, match='instances_val2017') as caught:
        fit_config(config(DETECTOR), data)
    assert 'no mask' in str(caught.value)


def test_heads_that_are_not_told_how_many_classes(read, config):
    cfg = config(DETECTOR)
    for head in ('bbox_head', 'mask_head'):
        del cfg.model.roi_head[head]['num_classes']
    notes = fit_config(cfg, read('coco'))
    assert 'num_classes of 2 heads: 80 -> 3' in notes
    assert cfg.model.roi_head.mask_head.num_classes == 3


def test_the_best_segmentor_is_that_of_the_best_miou(read, config):
    cfg = config('upernet_ivit_n_shapes')
    fit_config(cfg, read('label folders'))
    assert cfg.default_hooks.checkpoint.save_best == 'mIoU'


def test_hooks_that_change_something_at_an_epoch(read, config):
    cfg = config(DETECTOR)
    cfg.train_cfg.update(max_epochs=300, dynamic_intervals=[(280, 1)])
    cfg.custom_hooks = [dict(type='PipelineSwitchHook', switch_epoch=280)]
    fit_config(cfg, read('coco'), epochs=30)
    assert cfg.custom_hooks[0].switch_epoch == 28
    assert 'dynamic_intervals' not in cfg.train_cfg
