# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Backbones by name and by config."""

import pytest
import torch

from ivit.benchmark import BackboneWork, backbone_names, build_backbone
from ivit.benchmark.workload import Setting

CONFIG = """
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)
default_scope = 'mmdet'
model = dict(backbone=dict(type='FLattenPVT', arch='n', kernel_size=3))
"""
# In millions, of the papers' classifiers less their heads of 1000 classes.
PEERS = dict(
    resnet50=23.51,
    convnext_t=27.82,
    swin_t=27.52,
    pvt_t=12.72,
    pvt_v2_b2=24.85,
)


@pytest.mark.parametrize('name', PEERS)
def test_peers(name):
    model = build_backbone(name).to('meta')
    maps = model(torch.empty(1, 3, 64, 96, device='meta'))
    assert [m.shape[2:] for m in maps] == [
        (16, 24),
        (8, 12),
        (4, 6),
        (2, 3),
    ]
    params = sum(p.numel() for p in model.parameters()) / 1e6
    # ConvNeXt and Swin norm every map here, PVT none.
    assert params == pytest.approx(PEERS[name], abs=0.02)
    # Whatever is dropped at random takes no time.
    rates = [getattr(m, 'drop_prob', 0) for m in model.modules()]
    assert not any(rates)


def test_names_of_ours():
    names = backbone_names()
    for name in ('ivit_s', 'flatten_swin_t', 'flatten_pvt_v2_b2', 'vit_s'):
        assert name in names
    with torch.device('meta'):
        assert type(build_backbone('flatten_cswin_t')).__name__ == (
            'FLattenCSwin'
        )


def runs_of_a_block(model, block):
    """In a training step; two where it is recomputed."""
    runs = []
    block.norm2.register_forward_hook(lambda *_: runs.append(1))
    sum(m.sum() for m in model(torch.rand(1, 3, 32, 32))).backward()
    return len(runs)


def test_suffixes():
    name = 'flatten_swin_n_naive'
    for suffix, runs in {'': 1, '+with_cp': 2}.items():
        model = build_backbone(name + suffix)
        assert 'NaiveAttention' in repr(model)
        assert runs_of_a_block(model, model.layers[0].blocks[1]) == runs


def test_config(tmp_path):
    path = tmp_path / 'pvt.py'
    path.write_text(CONFIG)
    model = build_backbone(f'{path}+with_cp')
    assert model.block1[0].attn.dwc.kernel_size == (3, 3)
    assert runs_of_a_block(model, model.block1[1]) == 2


def test_config_by_name():
    model = build_backbone('mask_rcnn_flatten_pvt_n_shapes+with_cp')
    assert runs_of_a_block(model, model.block1[0]) == 2


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('swin_x', "no backbone 'swin_x'.*ivit_s"),
        ('swin_t_naive', 'no focused attention'),
        ('no_such.py', 'config not found'),
    ],
)
def test_mistakes(name, message):
    with pytest.raises(ValueError, match=message):
        build_backbone(name)


@pytest.mark.parametrize(
    'setting',
    [
        Setting(),
        Setting(train=True, batch=2),
        Setting(train=True, dtype='bfloat16', amp=True),
        Setting(dtype='bfloat16'),
    ],
    ids=str,
)
def test_one_pass(setting):
    work = BackboneWork('ivit_n', (64, 64), setting).build()
    seen = []
    work.module.stem.register_forward_hook(
        lambda module, args, out: seen.append((args[0], out))
    )
    calls = []
    for parameter in work.module.parameters():
        parameter.register_hook(lambda g: calls.append(g.abs().sum()))
    work()
    (images, out), *_ = seen
    assert images.shape == (setting.batch, 3, 64, 64)
    half = setting.dtype == 'bfloat16'
    assert out.dtype == (torch.bfloat16 if half else torch.float32)
    weight = next(work.module.parameters())
    assert weight.dtype == (
        torch.bfloat16 if half and not setting.amp else torch.float32
    )
    assert out.requires_grad == work.module.training == setting.train
    # Every parameter got a gradient, and none is kept.
    assert len(calls) == setting.train * len(list(work.module.parameters()))
    assert all(p.grad is None for p in work.module.parameters())
