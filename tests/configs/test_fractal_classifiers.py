# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The classifiers of fractals draw them, train a step and predict."""

from pathlib import Path

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS

CONFIGS = Path(__file__).parents[2] / 'configs'
HEADS = ('mask_rcnn', 'upernet')
NAMES = sorted(
    path.stem
    for path in CONFIGS.glob('*_fractals.py')
    if not path.stem.startswith(HEADS)
)
BACKBONES = {
    'ivit': 'IViT',
    'flatten_swin': 'FLattenSwin',
    'flatten_pvt': 'FLattenPVT',
    'flatten_pvt_v2': 'FLattenPVTv2',
    'flatten_cswin': 'FLattenCSwin',
}
ARCHS = {
    'ivit': 'ntsb',
    'flatten_swin': 'nt',
    'flatten_pvt': 'nt',
    'flatten_pvt_v2': ('n', 'b0'),
    'flatten_cswin': 'nt',
}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return str(tmp_path_factory.mktemp('data') / 'fractals')


def test_all_are_there():
    assert set(NAMES) == {
        f'{family}_{arch}_fractals'
        for family, archs in ARCHS.items()
        for arch in archs
    }


def build(cfg, phase, root):
    """A data set of the config, with three categories."""
    dataset = cfg[f'{phase}_dataloader'].dataset
    inner = dataset.get('dataset', dataset)
    inner.update(data_root=root, num_categories=3)
    return DATASETS.build(dataset)


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(
            name, marks=[pytest.mark.slow] * (name != 'ivit_n_fractals')
        )
        for name in NAMES
    ],
)
def test_trains_and_predicts(name, load, root):
    cfg = load(name)
    family, arch = name.removesuffix('_fractals').rsplit('_', 1)
    assert cfg.model.backbone.type == BACKBONES[family]
    assert cfg.model.backbone.arch == arch
    size = 64 if arch == 'n' else 224
    batches = {}
    for phase, length in (
        ('train', 75 if arch == 'n' else 3000),
        ('val', 3),
        ('test', 3),
    ):
        dataset = build(cfg, phase, root)
        assert len(dataset) == length
        items = [dataset[0], dataset[1]]
        assert items[0]['inputs'].shape == (3, size, size)
        batches[phase] = pseudo_collate(items)
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
    assert results[0].pred_score.shape == (1000,)


@pytest.mark.parametrize('name', NAMES)
def test_pictures_stay_rgb_and_are_normalised_like_imagenet(name, load):
    """What is trained on top of it normalises images so."""
    preprocessor = load(name).data_preprocessor
    assert preprocessor.to_rgb is False
    assert preprocessor.mean == [123.675, 116.28, 103.53]
    assert preprocessor.std == [58.395, 57.12, 57.375]


@pytest.mark.parametrize('name', NAMES)
def test_warm_up_and_one_cosine(name, load):
    cfg = load(name)
    warm_up, cosine = cfg.param_scheduler
    assert warm_up.type == 'LinearLR'
    assert cosine.type == 'CosineAnnealingLR'
    assert cosine.end == cfg.train_cfg.max_epochs
    assert cfg.optim_wrapper.optimizer.type == 'AdamW'
    dataset = cfg.train_dataloader.dataset
    base = cfg.auto_scale_lr.base_batch_size
    assert base == cfg.train_dataloader.batch_size
    if '_n_' not in name:  # OFDB's 80 M
        drawn = dataset.times * dataset.dataset.num_categories
        assert drawn * cfg.train_cfg.max_epochs == 80_000_000
        assert cfg.optim_wrapper.optimizer.lr == pytest.approx(1e-3)
        assert base == 256
