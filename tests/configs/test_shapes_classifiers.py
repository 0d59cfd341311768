# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The classifiers of the embedded crops read them, train a step, predict."""

from pathlib import Path

import pytest
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DATASETS, MODELS

HEADS = ('mask_rcnn', 'cascade', 'retinanet', 'upernet', 'sem_fpn', 'fcn')
CONFIGS = Path(__file__).parents[2] / 'configs'
NAMES = sorted(
    path.stem
    for path in CONFIGS.glob('*_shapes.py')
    if not path.stem.startswith(HEADS)
)
BACKBONES = {
    'ivit': 'IViT',
    'flatten_swin': 'FLattenSwin',
}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return str(tmp_path_factory.mktemp('data') / 'shapes')


def test_all_are_there():
    assert {'ivit_n_shapes', 'flatten_swin_n_shapes'} <= set(NAMES)


@pytest.mark.parametrize('name', NAMES)
def test_trains_and_predicts(name, load, root):
    cfg = load(name)
    assert cfg.model.backbone.type == BACKBONES[name.removesuffix('_n_shapes')]
    assert cfg.train_dataloader.batch_size == (
        cfg.auto_scale_lr.base_batch_size
    )
    batches = {}
    for phase in ('train', 'val', 'test'):
        dataset = cfg[f'{phase}_dataloader'].dataset
        dataset.update(data_root=root, num_train=3, num_val=2)
        dataset = DATASETS.build(dataset)
        assert set(dataset.get_gt_labels()) <= set(range(6))
        folder = 'train' if phase == 'train' else 'val'
        assert f'classes/{folder}/' in dataset[0]['data_samples'].img_path
        batches[phase] = pseudo_collate([dataset[0], dataset[1]])
    model = MODELS.build(
        dict(cfg.model, data_preprocessor=cfg.data_preprocessor)
    )
    data = model.data_preprocessor(batches['train'], training=True)
    loss = model(**data, mode='loss')['loss']
    assert loss.isfinite()
    loss.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
    model.eval()
    with torch.no_grad():
        results = model.test_step(batches['test'])
    assert results[0].pred_score.shape == (6,)


@pytest.mark.parametrize('name', NAMES)
def test_pipelines_build(name, load):
    cfg = load(name)
    *before, augment = cfg.tta_pipeline
    assert before == cfg.test_dataloader.dataset.pipeline[:-1]
    Compose([augment])
