# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The tools on the three tasks, over small versions of the embedded data."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from ivit.backbones import IViT

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
WIDTH = IViT.arch_settings['n']['dims'][-1]
SMALL = dict(data_root='small', num_train=8, num_val=4, image_size=64)
TEST_PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(32, 32)),
    dict(type='PackInputs'),
]


def loader(split):
    return dict(
        sampler=dict(type='DefaultSampler', shuffle=split == 'train'),
        collate_fn=dict(type='default_collate'),
        dataset=dict(
            type='ShapesClsDataset',
            data_prefix=f'classes/{split}',
            pipeline=TEST_PIPELINE,
        ),
    )


CLASSIFICATION = dict(
    custom_imports=dict(imports=['ivit'], allow_failed_imports=False),
    default_scope='mmpretrain',
    model=dict(
        type='ImageClassifier',
        backbone=dict(type='IViT', arch='n', out_indices=(3,)),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=6, in_channels=WIDTH),
        data_preprocessor=dict(
            num_classes=6, mean=[127.0] * 3, std=[64.0] * 3, to_rgb=True
        ),
    ),
    train_dataloader=loader('train'),
    val_dataloader=loader('val'),
    test_dataloader=loader('val'),
    val_evaluator=dict(type='Accuracy', topk=(1,)),
    test_evaluator=dict(type='Accuracy', topk=(1,)),
    train_cfg=dict(by_epoch=True, max_epochs=1),
    val_cfg=dict(),
    test_cfg=dict(),
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
    default_hooks=dict(visualization=dict(type='VisualizationHook')),
    visualizer=dict(type='UniversalVisualizer'),
    tta_model=dict(type='AverageClsScoreTTA'),
    tta_pipeline=[
        dict(type='LoadImageFromFile'),
        dict(
            type='TestTimeAug',
            transforms=[
                [dict(type='Resize', scale=(s, s)) for s in (32, 40)],
                [dict(type='PackInputs')],
            ],
        ),
    ],
)


def small_config(task):
    """A config of the task that trains in seconds."""
    if task == 'classification':
        cfg = Config(CLASSIFICATION)
    else:
        name = dict(detection='mask_rcnn', segmentation='upernet')[task]
        cfg = Config.fromfile(CONFIGS / f'{name}_ivit_n_shapes.py')
    for split in ('train', 'val', 'test'):
        data = cfg[f'{split}_dataloader']
        data.update(batch_size=4, num_workers=0, persistent_workers=False)
        data.dataset.update(SMALL)
    if task == 'detection':
        answers = 'small/annotations/instances_val.json'
        cfg.val_evaluator.ann_file = cfg.test_evaluator.ann_file = answers
        cfg.train_cfg.max_epochs = 1
    if task == 'segmentation':
        cfg.train_cfg.max_iters = 2
    if task == 'classification':
        cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=1)
    cfg.default_hooks.checkpoint.interval = 1
    cfg.log_level = 'WARNING'
    return cfg


@pytest.mark.slow
@pytest.mark.parametrize(
    ('task', 'checkpoint', 'prediction'),
    [
        ('detection', 'epoch_1.pth', 'pred_instances'),
        ('segmentation', 'iter_2.pth', 'pred_sem_seg'),
        ('classification', 'epoch_1.pth', 'pred_score'),
    ],
)
def test_train_and_test(tool, tmp_path, capsys, task, checkpoint, prediction):
    config = tmp_path / f'{task}.py'
    small_config(task).dump(config)
    tool('train', config, '--amp')
    checkpoint = tmp_path / 'work_dirs' / task / checkpoint
    options = ('--show-dir', 'shown', '--out', 'plain.pkl')
    tool('test', config, checkpoint, *options)
    options = ['--tta', '--out', 'tta.pkl']
    if task == 'detection':  # mmdet cannot merge masks
        with pytest.raises(SystemExit):
            tool('test', config, checkpoint, *options)
        message = capsys.readouterr().err
        options += message[message.index('--cfg-options') :].split()
    tool('test', config, checkpoint, *options)
    plain, tta = (
        pickle.loads((tmp_path / name).read_bytes())
        for name in ('plain.pkl', 'tta.pkl')
    )
    pictures = list((tmp_path / 'shown').rglob('*.*g'))
    assert len(plain) == len(tta) == len(pictures) >= 4
    assert all(prediction in sample for sample in [*plain, *tta])
    if task == 'detection':  # as mmdet's analysis tools read it: RLE
        masks = plain[0][prediction]['masks']
        assert all(mask.keys() == {'size', 'counts'} for mask in masks)
    if task == 'classification':
        with pytest.raises(SystemExit):
            tool('test', config, checkpoint, '--tta', '--show-dir', 'shown')
        assert 'VisualizationHook' in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize('options', [(), ('--amp',)], ids=['fp32', 'amp'])
@pytest.mark.parametrize('family', ['swin', 'pvt', 'pvt_v2', 'cswin'])
def test_flatten_learns(tool, tmp_path, family, options):
    """Some steps over few images: the loss is finite throughout and falls."""
    cfg = Config.fromfile(CONFIGS / f'mask_rcnn_flatten_{family}_n_shapes.py')
    cfg.train_dataloader.update(
        batch_size=4, num_workers=0, persistent_workers=False
    )
    sizes = dict(data_root='small', num_train=16, num_val=1)
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset.update(sizes)
    answers = 'small/annotations/instances_val.json'
    cfg.val_evaluator.ann_file = cfg.test_evaluator.ann_file = answers
    cfg.train_cfg.update(max_epochs=5, val_interval=100)
    cfg.param_scheduler = []  # warm-up would take all of it
    cfg.default_hooks.logger.interval = 1
    cfg.log_level = 'WARNING'
    cfg.dump(tmp_path / 'nano.py')
    tool('train', tmp_path / 'nano.py', *options)
    (log,) = tmp_path.rglob('scalars.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    losses = np.array([line['loss'] for line in lines if 'loss' in line])
    assert len(losses) == 20
    assert np.isfinite(losses).all()
    assert losses[-5:].mean() < 0.8 * losses[:2].mean()
