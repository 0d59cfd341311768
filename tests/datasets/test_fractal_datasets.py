# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope, init_default_scope
from mmengine.runner import Runner

pytest.importorskip('mmpretrain')

from ivit.datasets import FractalDataset, OneFractalDataset  # noqa: E402

PIPELINE = [dict(type='DrawFractal', size=32), dict(type='PackInputs')]
TINY = dict(num_categories=4, seed=3, pipeline=PIPELINE)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """The folder of the systems, which are searched once."""
    return str(tmp_path_factory.mktemp('data') / 'fractals')


@pytest.fixture(autouse=True)
def scope():
    before = DefaultScope.get_current_instance()
    init_default_scope('mmpretrain')
    yield
    if before:
        init_default_scope(before.scope_name)


def test_each_fluctuation_of_each_category_is_an_item(root):
    dataset = DATASETS.build(
        dict(type='FractalDataset', data_root=root, **TINY)
    )
    assert len(dataset) == 100
    assert list(dataset.get_gt_labels()) == [k // 25 for k in range(100)]
    names = ['fractal 0', 'fractal 1', 'fractal 2', 'fractal 3']
    assert list(dataset.CLASSES) == names
    item = dataset[30]
    assert item['inputs'].shape == (3, 32, 32)
    assert item['inputs'].dtype == torch.uint8
    assert item['data_samples'].gt_label.item() == 1


def test_ofdb_has_one_instance_of_a_category(root):
    dataset = FractalDataset(data_root=root, num_fluctuations=1, **TINY)
    assert len(dataset) == 4


def test_one_fractal(root):
    dataset = OneFractalDataset(data_root=root, delta=0.2, **TINY)
    assert len(dataset) == 4
    maps = [dataset[i] for i in range(4)]
    assert all(item['inputs'].float().std() > 0 for item in maps)


def test_training_draws_anew_and_validation_does_not(root):
    training = FractalDataset(data_root=root, **TINY)
    np.random.seed(0)
    first, second = (training[0]['inputs'] for _ in range(2))
    assert (first != second).any()
    np.random.seed(0)
    assert (training[0]['inputs'] == first).all()
    validation = [
        FractalDataset(data_root=root, test_mode=True, **TINY)
        for _ in range(2)
    ]
    assert len(validation[0]) == 4
    for i in range(4):
        a, b = (dataset[i]['inputs'] for dataset in validation)
        assert (a == b).all()


def test_points_of_an_instance_stay(root):
    """Without patches and colours all drawings are the same."""
    pipeline = [
        dict(type='DrawFractal', size=32, patches=False, colour_prob=0.0),
        dict(type='PackInputs'),
    ]
    dataset = FractalDataset(data_root=root, **{**TINY, 'pipeline': pipeline})
    for i in (0, 7, 99):
        drawn = [dataset[i]['inputs'] for _ in range(3)]
        assert (drawn[0] == drawn[1]).all()
        assert (drawn[0] == drawn[2]).all()
        assert drawn[0].any()


def test_no_more_instances_are_kept_than_said(root):
    pipeline = [
        dict(type='DrawFractal', size=32, max_kept=2),
        dict(type='PackInputs'),
    ]
    dataset = FractalDataset(data_root=root, **{**TINY, 'pipeline': pipeline})
    for i in range(5):
        dataset[i]
    assert len(dataset.pipeline.transforms[0]._kept) == 2


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('num_categories', 1),
        ('num_categories', 2.5),
        ('num_fluctuations', 0),
        ('num_fluctuations', 26),
        ('filling_rate', 0.0),
        ('filling_rate', 0.4),
        ('seed', -1),
    ],
)
def test_settings_out_of_range(tmp_path, name, value):
    with pytest.raises(ValueError, match=f'{name}={value}'):
        FractalDataset(data_root=str(tmp_path / 'x'), **{**TINY, name: value})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('delta', [0.0, 1.0, -0.1])
def test_delta_out_of_range(tmp_path, delta):
    with pytest.raises(ValueError, match=f'delta={delta}'):
        OneFractalDataset(data_root=str(tmp_path), delta=delta, **TINY)


@pytest.mark.parametrize(
    ('name', 'value'),
    [('size', 0), ('colour_prob', 1.5), ('texture_prob', -0.1)],
)
def test_drawing_out_of_range(root, name, value):
    pipeline = [dict(type='DrawFractal', **{name: value})]
    with pytest.raises(ValueError, match=f'{name}={value}'):
        FractalDataset(data_root=root, **{**TINY, 'pipeline': pipeline})


def _pretrain(root, work_dir):
    """20 steps of the shipped pre-training, on four categories."""
    from pathlib import Path

    configs = Path(__file__).parents[2] / 'configs'
    cfg = Config.fromfile(configs / 'ivit_n_fractals.py')
    cfg.merge_from_dict(
        {
            'work_dir': str(work_dir),
            'train_dataloader.batch_size': 5,
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'train_cfg.max_epochs': 1,
            'val_dataloader': None,
            'val_cfg': None,
            'val_evaluator': None,
            'test_dataloader': None,
            'test_cfg': None,
            'test_evaluator': None,
            'default_hooks.checkpoint': None,
        }
    )
    dataset = cfg.train_dataloader.dataset
    dataset = dataset.get('dataset', dataset)
    dataset.update(data_root=root, num_categories=4, seed=3)
    dataset.num_fluctuations = 25
    cfg.train_dataloader.dataset = dataset
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 20
    return runner.model.state_dict()


@pytest.mark.slow
def test_pretraining_can_be_repeated_bit_for_bit(root, tmp_path):
    first, second = (_pretrain(root, tmp_path / name) for name in 'ab')
    assert all(torch.equal(first[name], second[name]) for name in first)
