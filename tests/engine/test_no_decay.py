# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Weight decay on the weights of linear layers and convolutions alone."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from torch import nn
from torch.nn.modules.conv import _ConvNd

from ivit import backbones
from ivit.engine import no_decay

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
LR, DECAY = 0.1, 0.05
NAME = 'NoDecayOptimWrapperConstructor'
BACKBONES = {
    'IViT': {},
    'FLattenSwin': dict(img_size=128, window_size=8),
    'FLattenPVT': dict(img_size=128),
    'FLattenPVTv2': dict(img_size=128),
    'FLattenCSwin': dict(img_size=128, split_sizes=(1, 2, 8, 8)),
    'PlainViT': dict(attention='interactive', img_size=64),
    'FLattenDeiT': dict(img_size=64),
}
CLASSIFIER = dict(
    type='ImageClassifier',
    backbone=dict(type='FLattenPVT', arch='n', out_indices=(3,)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', in_channels=256, num_classes=5),
)
# Scope and model; Semantic FPN has scale_heads, which decay.
MODEL_CONFIGS = {
    'mmdet': lambda: from_file('mask_rcnn_flatten_swin_n_shapes.py'),
    'mmseg': lambda: from_file('upernet_ivit_n_shapes.py'),
    'mmseg fpn': lambda: from_file('sem_fpn_ivit_n_shapes.py'),
    'mmpretrain': lambda: CLASSIFIER,
}


def from_file(name):
    return Config.fromfile(CONFIGS / name).model


def optimizer_of(model, **options):
    config = dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=LR, weight_decay=DECAY),
        constructor=NAME,
        **options,
    )
    return build_optim_wrapper(model, config).optimizer


def wanted(model):
    """The names of what decays, by the types of modules."""
    return {
        f'{name}.weight'.lstrip('.')
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, _ConvNd))
        and module.weight.requires_grad
    }


def settings(model, optimizer):
    """Rate and decay of every parameter by its name."""
    names = {id(value): name for name, value in model.named_parameters()}
    return {
        names[id(value)]: (group['lr'], group['weight_decay'])
        for group in optimizer.param_groups
        for value in group['params']
    }


def check(model, optimizer):
    found = settings(model, optimizer)
    assert set(found) == {
        name for name, p in model.named_parameters() if p.requires_grad
    }
    decay = wanted(model)
    assert {name for name, (_, wd) in found.items() if wd != 0} == decay
    assert {wd for _, wd in found.values()} == {0, DECAY}


def size(parameters):
    numbers = sum(parameter.numel() for parameter in parameters)
    return f'{len(parameters)} tensors with {numbers:,} numbers'


def test_every_backbone_is_here():
    assert set(BACKBONES) == set(backbones.__all__)


@pytest.mark.parametrize('name', BACKBONES)
def test_backbones(name):
    with torch.device('meta'):
        model = MODELS.build(dict(type=name, arch='n', **BACKBONES[name]))
    check(model, optimizer_of(model))


@pytest.mark.parametrize('case', MODEL_CONFIGS)
def test_models(case, monkeypatch):
    scope = case.partition(' ')[0]
    logged = []
    monkeypatch.setattr(
        no_decay, 'print_log', lambda text, **_: logged.append(text)
    )
    with DefaultScope.overwrite_default_scope(scope), torch.device('meta'):
        model = MODELS.build(MODEL_CONFIGS[case]())
        next(model.backbone.parameters()).requires_grad_(False)
        optimizer = optimizer_of(model)
    check(model, optimizer)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    free = [p for n, p in trained.items() if n not in wanted(model)]
    tables = [n.rpartition('.')[2] for n, p in trained.items() if p.ndim > 1]
    (summary,) = logged
    head, *lines = summary.splitlines()
    assert head == (
        f'Without weight decay: {size(free)}, of {size(trained.values())}:'
    )
    counts = {}
    for line in lines:
        kind, _, share = line.strip().partition(': ')
        counts[kind] = int(share.split(' ')[0])
    assert counts['vectors (biases, norms)'] == sum(p.ndim < 2 for p in free)
    assert sum(counts.values()) == len(free)
    for kind in ('scale', 'relative_position_bias_table'):
        assert counts.get(kind, 0) == tables.count(kind)


def test_other_rules_hold():
    """A smaller rate of the backbone does not bring its decay back."""
    model = nn.ModuleDict(
        dict(backbone=backbones.FLattenDeiT('n'), head=nn.Linear(2, 2))
    )
    optimizer = optimizer_of(
        model,
        paramwise_cfg=dict(
            norm_decay_mult=1.0,
            bias_decay_mult=1.0,
            custom_keys=dict(backbone=dict(lr_mult=0.1, decay_mult=1.0)),
        ),
    )
    check(model, optimizer)
    for name, (rate, _) in settings(model, optimizer).items():
        share = 0.1 if name.startswith('backbone.') else 1
        assert rate == pytest.approx(share * LR), name


def test_numbers_have_no_decay():
    model = nn.Linear(2, 2)
    model.temperature = nn.Parameter(torch.ones(()))
    check(model, optimizer_of(model))


def test_layer_decay_is_another_constructor():
    message = 'layer_decay_rate=0.9 is for LayerDecay'
    with pytest.raises(ValueError, match=re.escape(message)):
        optimizer_of(nn.Linear(2, 2), paramwise_cfg=dict(layer_decay_rate=0.9))
