# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The frameworks' own front doors take our configs, from any folder."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

CONFIGS = Path(__file__).parents[2] / 'configs'
IMAGE = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)


@pytest.fixture
def checkpoint(request, tmp_path, monkeypatch):
    """Weights of a config's model, and its path, seen from elsewhere."""
    monkeypatch.chdir(tmp_path)
    config = str(CONFIGS / f'{request.param}.py')
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    path = tmp_path / 'weights.pth'
    meta = dict(
        dataset_meta=dict(
            classes=tuple('abcdefg'), palette=[(0, 0, 9 * i) for i in range(7)]
        )
    )
    state = MODELS.build(cfg.model).state_dict()
    torch.save(dict(state_dict=state, meta=meta), path)
    return config, str(path)


@pytest.mark.parametrize(
    'checkpoint',
    ['mask_rcnn_ivit_n_shapes', 'retinanet_ivit_n_shapes'],
    indirect=True,
)
def test_det_inferencer(checkpoint):
    from mmdet.apis import DetInferencer

    inferencer = DetInferencer(*checkpoint, device='cpu')
    result = inferencer(IMAGE, return_vis=False)
    assert set(result['predictions'][0]) >= {'bboxes', 'labels', 'scores'}


@pytest.mark.parametrize(
    'checkpoint',
    ['upernet_ivit_n_shapes', 'sem_fpn_ivit_n_shapes'],
    indirect=True,
)
def test_seg_inferencer(checkpoint):
    from mmseg.apis import MMSegInferencer

    inferencer = MMSegInferencer(*checkpoint, device='cpu')
    result = inferencer(IMAGE)
    assert result['predictions'].shape == IMAGE.shape[:2]


SMALL = [
    f'{split}_dataloader.dataset.{key}={value}'
    for split in ('train', 'val', 'test')
    for key, value in (('num_train', 8), ('num_val', 4), ('image_size', 64))
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ('framework', 'name', 'options', 'weights'),
    [
        (
            'mmdet',
            'mask_rcnn_ivit_n_shapes',
            ['train_cfg.max_epochs=1'],
            'epoch_1.pth',
        ),
        (
            'mmseg',
            'upernet_ivit_n_shapes',
            [
                'train_cfg.max_iters=1',
                'default_hooks.checkpoint.interval=1',
                'train_dataloader.batch_size=2',
            ],
            'iter_1.pth',
        ),
    ],
)
def test_their_own_tools(framework, name, options, weights, tmp_path):
    """What `mim train` and `mim test` run, on the stand-in if need be."""
    package = Path(find_spec(framework).origin).parent
    tools = package / '.mim' / 'tools'
    if not tools.is_dir():
        pytest.skip(f'{framework} came without its tools')
    config = str(CONFIGS / f'{name}.py')
    commands = (
        [tools / 'train.py', config, '--work-dir', 'work'],
        [tools / 'test.py', config, f'work/{weights}', '--work-dir', 'work'],
    )
    for command in commands:
        done = subprocess.run(
            [sys.executable, '-m', 'ivit.mmcv_ops', *map(str, command)]
            + ['--cfg-options', *SMALL, *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / 'work' / weights).is_file()
