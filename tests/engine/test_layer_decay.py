# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Layer-wise decay for detectors, segmentors and classifiers."""

import re
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from torch import nn
from torch.nn.modules.conv import _ConvNd

from ivit.engine import layer_decay

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
RATE, LR, DECAY = 0.5, 0.1, 0.05
SIZES = dict(
    dims=(8, 16, 24, 32),
    depths=(1, 2, 2, 1),
    num_heads=(2, 2, 2, 4),
    mlp_ratios=(2, 2, 2, 2),
)
CLASSIFIER = dict(
    type='ImageClassifier',
    backbone=dict(
        type='FLattenPVT', arch=SIZES, img_size=96, out_indices=(3,)
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', in_channels=32, num_classes=5),
)


def wrapper_config(optimizer=None, **paramwise):
    return dict(
        type='OptimWrapper',
        optimizer=optimizer or dict(type='AdamW', lr=LR, weight_decay=DECAY),
        constructor='LayerDecayOptimWrapperConstructor',
        paramwise_cfg=dict(layer_decay_rate=RATE, **paramwise),
    )


def from_file(name):
    return Config.fromfile(CONFIGS / name).model


def swin_depth(name, depths):
    """From the names in the file format, not by the model's own rules."""
    if name.startswith('patch_embed.'):
        return 0
    block = re.match(r'layers\.(\d)\.blocks\.(\d+)\.', name)
    if block:
        return 1 + sum(depths[: int(block[1])]) + int(block[2])
    merging = re.match(r'layers\.(\d)\.downsample\.', name)
    if merging:
        return 1 + sum(depths[: int(merging[1]) + 1])
    return 1 + sum(depths)


def pvt_depth(name, depths):
    embed = re.match(r'(patch|pos)_embed(\d)', name)
    if embed:
        stage = int(embed[2]) - 1
        return 1 + sum(depths[:stage]) if stage else 0
    block = re.match(r'block(\d)\.(\d+)\.', name)
    if block:
        return 1 + sum(depths[: int(block[1]) - 1]) + int(block[2])
    return 1 + sum(depths)


def segmentor():
    swin = from_file('mask_rcnn_flatten_swin_n_shapes.py').backbone
    return {**from_file('upernet_ivit_n_shapes.py'), 'backbone': swin}


CASES = {
    'mmdet': (
        lambda: from_file('mask_rcnn_flatten_swin_n_shapes.py'),
        swin_depth,
    ),
    'mmseg': (segmentor, swin_depth),
    'mmpretrain': (lambda: CLASSIFIER, pvt_depth),
}


@pytest.mark.parametrize('scope', CASES)
def test_rates_and_decay(scope, monkeypatch):
    config, depth = CASES[scope]
    config = config()
    logged = []
    monkeypatch.setattr(
        layer_decay, 'print_log', lambda text, **_: logged.append(text)
    )
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(config)
        frozen = next(model.backbone.parameters()).requires_grad_(False)
        wrapper = build_optim_wrapper(
            model,
            wrapper_config(
                custom_keys={'backbone': dict(decay_mult=0.5)},
            ),
        )
    names = {
        id(parameter): name
        for name, parameter in model.named_parameters()
        if parameter is not frozen
    }
    weights = {
        f'{name}.weight'
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, _ConvNd))
    }
    depths = model.backbone.arch['depths']
    rates = {}
    for group in wrapper.optimizer.param_groups:
        (parameter,) = group['params']
        name = names.pop(id(parameter))
        last = layer = 1 + sum(depths)
        if name.startswith('backbone.'):
            layer = depth(name.removeprefix('backbone.'), depths)
        assert group['lr'] == pytest.approx(LR * RATE ** (last - layer)), name
        rates[layer] = group['lr']
        share = 0.5 if name.startswith('backbone.') else 1
        decay = share * DECAY if name in weights else 0
        assert group['weight_decay'] == decay, name
    assert not names  # every one that is trained has a group
    assert sorted(rates) == list(range(sum(depths) + 2))
    (summary,) = logged
    head, *lines = summary.partition('\nWithout weight decay: ')
    assert len(head.splitlines()) == 1 + len(rates)
    free = sum(g['weight_decay'] == 0 for g in wrapper.param_groups)
    assert lines[1].startswith(f'{free} tensors')
    assert 'layer 0: lr 0.00' in summary


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(layer_decay_rate=0), 'layer_decay_rate=0 must be in'),
        (dict(layer_decay_rate=1.5), 'layer_decay_rate=1.5 must be in'),
        (dict(norm_decay_mult=0.0), 'layer_decay_rate=None must be in'),
        (None, 'layer_decay_rate=None must be in'),
        (
            dict(layer_decay_rate=1, custom_keys={'a': dict(lr_mult=0.1)}),
            r"custom_keys\['a'\] has lr_mult=0.1",
        ),
    ],
)
def test_wrong_arguments(config, message):
    wrapper = dict(wrapper_config(), paramwise_cfg=config)
    with pytest.raises(ValueError, match=message):
        build_optim_wrapper(nn.Linear(1, 1), wrapper)


@pytest.mark.parametrize('name', ['lr', 'weight_decay'])
def test_optimizer_without(name):
    optimizer = dict(type='SGD', lr=LR, weight_decay=DECAY)
    del optimizer[name]
    with pytest.raises(ValueError, match=f'optimizer has no {name}'):
        build_optim_wrapper(nn.Linear(1, 1), wrapper_config(optimizer))


@pytest.mark.parametrize('backbone', [None, nn.Linear(1, 1)])
def test_backbone_of_unknown_layers(backbone):
    model = nn.Module()
    model.backbone = backbone
    kind = type(backbone).__name__
    with pytest.raises(ValueError, match=f'is {kind}, which has no get_layer'):
        build_optim_wrapper(model, wrapper_config())
