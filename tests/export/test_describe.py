# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What a file says about the resizing of images, and the runner's own."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import TRANSFORMS, DefaultScope
from PIL import Image

from ivit.engine import UsageError, load_config
from ivit.export.describe import read_resize

RUNNER = Path(__file__).parents[2] / 'examples' / 'predict_onnx.py'
# One of each test pipeline.
CONFIGS = [
    'mask_rcnn_ivit_t_coco',
    'mask_rcnn_ivit_n_shapes',
    'upernet_ivit_t_ade20k',
    'upernet_ivit_n_shapes',
    'sem_fpn_ivit_t_ade20k',
    'ivit_t_imagenet',
    'flatten_swin_b_imagenet_384',
    'ivit_n_shapes',
]


@pytest.fixture(scope='module')
def runner():
    spec = importlib.util.spec_from_file_location('predict_onnx', RUNNER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def photo(tmp_path_factory):
    """A smooth picture with edges, of an odd size."""
    rows, columns = np.mgrid[:253, :417]
    waves = 128 + 90 * np.sin(rows / 17) * np.cos(columns / 23)
    image = np.stack([waves, waves.T.repeat(2, 1)[:253, :417], columns % 256])
    image = np.resize(image, (3, 253, 417)).transpose(1, 2, 0)
    image[80:140, 100:260] = (250, 20, 120)
    path = tmp_path_factory.mktemp('photo') / 'photo.png'
    Image.fromarray(image.astype(np.uint8)).save(path)
    return path


def of_pipeline(cfg, path):
    """RGB (H, W, 3) as the config's own test pipeline makes it."""
    steps = [
        step
        for step in cfg.test_dataloader.dataset.pipeline
        if 'Annotations' not in step['type']
    ]
    results = dict(img_path=str(path), img_id=0, seg_fields=[], gt_label=0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        for step in steps:
            results = TRANSFORMS.build(step)(results)
    return results['inputs'].flip(0).permute(1, 2, 0).numpy()


@pytest.mark.parametrize('name', CONFIGS)
def test_the_runner_sees_what_the_model_was_tested_with(name, runner, photo):
    cfg = load_config(name)
    expected = of_pipeline(cfg, photo)
    found = runner.prepare(runner.read(photo), read_resize(cfg))
    assert found.shape == expected.shape
    assert found.dtype == np.uint8
    # OpenCV rounds its weights to eleven bits.
    assert abs(found.astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize(
    'step',
    [
        dict(type='RandomFlip', prob=0.5),
        dict(type='Resize', scale_factor=2.0),
        dict(type='ResizeEdge', scale=64, edge='long'),
    ],
)
def test_a_step_that_cannot_be_told_is_an_error(step):
    pipeline = [dict(type='LoadImageFromFile'), step]
    cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=pipeline))))
    with pytest.raises(UsageError, match=step['type']):
        read_resize(cfg)


def test_masks_are_pasted_as_mmdet_pastes_them(runner):
    pytest.importorskip('mmdet')
    from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask

    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(3, 1, 28, 28, generator=generator)
    boxes = torch.tensor(
        [[3.2, 5.5, 30.1, 44.9], [-8, -3, 20, 70.5], [40, 2, 41, 3.5]]
    )
    expected, _ = _do_paste_mask(masks, boxes, 60, 50, skip_empty=False)
    for mask, box, whole in zip(masks, boxes, expected, strict=True):
        found = runner.paste(mask[0].numpy(), box.numpy(), (60, 50))
        assert abs(found - whole.numpy()).max() < 1e-5
