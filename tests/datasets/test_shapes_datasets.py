# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, DefaultScope, init_default_scope
from mmengine.runner import Runner

from ivit.datasets import shapes
from ivit.datasets.shape_scenes import CLASSES

BASES = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'
TINY = dict(num_train=6, num_val=3, image_size=64, seed=1)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data') / 'shapes'
    return str(shapes.ensure_shapes(folder, **TINY))


@pytest.fixture
def scope():
    """Enter a framework's scope for the length of a test."""
    before = DefaultScope.get_current_instance()

    def enter(name):
        pytest.importorskip(name)
        init_default_scope(name)

    yield enter
    if before:
        init_default_scope(before.scope_name)


def load(name, root, monkeypatch, cwd):
    """The base config, from another folder and with the tiny sizes."""
    monkeypatch.chdir(cwd)
    cfg = Config.fromfile(BASES / f'shapes_{name}.py')
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        dataset.update(data_root=root, **TINY)
    return cfg


def test_detection(root, scope, monkeypatch, tmp_path):
    scope('mmdet')
    cfg = load('instance', root, monkeypatch, tmp_path)
    for split, number in (('train', 6), ('val', 3)):
        dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
        assert len(dataset) == number
        assert dataset.metainfo['classes'] == CLASSES
        sample = dataset[0]
        assert sample['inputs'].shape == (3, 128, 128)
        truth = sample['data_samples'].gt_instances
        assert len(truth) > 0
        masks = truth.masks.masks
        for box, mask in zip(truth.bboxes.tensor, masks, strict=True):
            ys, xs = np.nonzero(mask)
            # Resized from 64: corners move by less than one old pixel.
            tight = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            assert np.allclose(box.numpy(), tight, atol=2)


def test_segmentation(root, scope, monkeypatch, tmp_path):
    scope('mmseg')
    cfg = load('semantic', root, monkeypatch, tmp_path)
    for split, number in (('train', 6), ('val', 3)):
        dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
        assert len(dataset) == number
        assert dataset.metainfo['classes'] == ('background', *CLASSES)
        sample = dataset[0]
        assert sample['inputs'].shape == (3, 128, 128)
        label_map = sample['data_samples'].gt_sem_seg.data
        labels = set(label_map.unique().tolist())
        assert 0 in labels
        assert len(labels) > 1
        assert labels <= set(range(len(CLASSES) + 1))


def test_classification(root, scope):
    scope('mmpretrain')
    dataset = DATASETS.build(
        dict(
            type='ShapesClsDataset',
            data_root=root,
            data_prefix='classes/train',
            pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')],
            **TINY,
        )
    )
    assert dataset.metainfo['classes'] == CLASSES
    for i in range(len(dataset)):
        sample = dataset[i]
        assert sample['inputs'].shape == (3, 32, 32)
        folder = Path(sample['data_samples'].img_path).parent.name
        assert CLASSES[sample['data_samples'].gt_label] == folder


@pytest.mark.parametrize('pipeline', ['test', 'tta'])
@pytest.mark.parametrize(
    ('framework', 'name'), [('mmdet', 'instance'), ('mmseg', 'semantic')]
)
def test_inference_pipelines(
    root, scope, monkeypatch, tmp_path, framework, name, pipeline
):
    scope(framework)
    cfg = load(name, root, monkeypatch, tmp_path)
    dataset_cfg = cfg.test_dataloader.dataset
    assert dataset_cfg.pipeline == cfg.test_pipeline
    dataset_cfg.pipeline = cfg[f'{pipeline}_pipeline']
    sample = DATASETS.build(dataset_cfg)[0]
    if pipeline == 'tta':
        assert len(sample['inputs']) == 6  # three sizes, two flips
        flips = [s.metainfo['flip'] for s in sample['data_samples']]
        assert sum(flips) == 3
    else:
        assert sample['data_samples'].metainfo['scale_factor'] == (2.0, 2.0)


@pytest.mark.parametrize(
    ('framework', 'name'),
    [('mmdet', 'Det'), ('mmseg', 'Seg'), ('mmpretrain', 'Cls')],
)
def test_lazy_init_makes_nothing(
    scope, monkeypatch, tmp_path, framework, name
):
    scope(framework)
    monkeypatch.chdir(tmp_path)
    prefix = 'classes/train' if name == 'Cls' else {}
    dataset = DATASETS.build(
        dict(
            type=f'Shapes{name}Dataset',
            data_prefix=prefix,
            lazy_init=True,
            **TINY,
        )
    )
    assert dataset.data_root == 'data/shapes'
    assert 'circle' in dataset.metainfo['classes']
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_argument_is_an_error(scope):
    scope('mmdet')
    with pytest.raises(TypeError, match='num_tests'):
        DATASETS.build(dict(type='ShapesDetDataset', num_tests=3))


class _Nothing(BaseModel):
    """Detects nothing."""

    def forward(self, inputs, data_samples, mode):
        from mmengine.structures import InstanceData

        for sample in data_samples:
            sample.pred_instances = InstanceData(
                bboxes=torch.zeros(0, 4),
                scores=torch.zeros(0),
                labels=torch.zeros(0, dtype=torch.long),
                masks=torch.zeros(0, 64, 64, dtype=torch.bool),
            )
        return data_samples


def test_a_runner_makes_the_data_before_its_evaluator(
    scope, monkeypatch, tmp_path
):
    """CocoMetric reads the annotations when it is built."""
    scope('mmdet')
    cfg = load('instance', 'data/shapes', monkeypatch, tmp_path)
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.test_dataloader.collate_fn = dict(type=pseudo_collate)
    runner = Runner(
        model=_Nothing(),
        work_dir=str(tmp_path / 'work'),
        test_dataloader=cfg.test_dataloader,
        test_evaluator=cfg.test_evaluator,
        test_cfg=dict(type='TestLoop'),
        default_scope='mmdet',
        experiment_name=tmp_path.name,
    )
    assert not (tmp_path / 'data').exists()
    runner.test()
    assert (tmp_path / 'data' / 'shapes' / 'shapes.json').exists()
    assert len(runner.test_dataloader.dataset) == 3
