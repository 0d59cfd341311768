# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import copy
import itertools

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ivit.attention import InteractiveAttention
from ivit.backbones import IViT

ARCHS = sorted(IViT.arch_settings)
# DESIGN of the family: parameters (M) and MACs (G) at 224 x 224, with a
# classifier of 1000 classes.
BUDGETS = {
    'n': (0, 1, 0.3),
    't': (8, 11, 1.6),
    's': (25, 28, 4.3),
    'b': (48, 52, 9.0),
}
TINY = dict(dims=(8, 8, 16, 32), depths=(1, 1, 2, 1), num_heads=(1, 1, 2, 4))


def macs(model, size):
    """Multiply-adds, counted without computing anything."""
    model = copy.deepcopy(model).to('meta')
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, *size, device='meta'))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize('arch', ARCHS)
def test_budget(arch):
    model = IViT(arch, out_indices=(3,)).eval()
    head = 1000 * (model.arch['dims'][3] + 1)
    params = sum(p.numel() for p in model.parameters()) + head
    low, high, most_macs = BUDGETS[arch]
    assert low < params / 1e6 < high
    assert (macs(model, (224, 224)) + head) / 1e9 < most_macs


@pytest.mark.parametrize('arch', ARCHS)
def test_cost_is_linear_in_pixels(arch):
    model = IViT(arch).eval()
    ratio = macs(model, (1600, 2688)) / macs(model, (800, 1344))
    assert 3.99 < ratio <= 4.0


def test_undecomposed_cost_is_not_linear():
    model = IViT('n', decomposed=False).eval()
    assert macs(model, (1600, 2688)) > 6 * macs(model, (800, 1344))


@pytest.mark.parametrize(
    'arch', ['t', *(pytest.param(a, marks=pytest.mark.slow) for a in 'sb')]
)
def test_every_parameter_gets_a_gradient(arch):
    torch.manual_seed(0)
    model = IViT(arch)
    model.init_weights()
    outs = model(torch.randn(2, 3, 64, 64))
    sum((out * torch.randn_like(out)).sum() for out in outs).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    'blocks', list(itertools.product(('conv', 'attention'), repeat=4))
)
def test_block_kinds(blocks):
    model = IViT(TINY, blocks=blocks).eval()
    for stage, kind in zip(model.stages, blocks, strict=True):
        attentions = [
            m for m in stage.modules() if isinstance(m, InteractiveAttention)
        ]
        assert bool(attentions) == (kind == 'attention')
    assert len(model(torch.randn(1, 3, 30, 50))) == 4


@pytest.mark.parametrize('decomposed', [True, False])
@pytest.mark.parametrize('interaction', ['both', 'pre', 'post', None])
def test_attention_options_reach_the_attention(decomposed, interaction):
    model = IViT(
        TINY,
        landmarks=(3, 4),
        decomposed=decomposed,
        interaction=interaction,
        mlp_ratio=2,
    )
    attentions = [
        m for m in model.modules() if isinstance(m, InteractiveAttention)
    ]
    assert len(attentions) == 3
    for attn in attentions:
        assert attn.landmarks == (3, 4)
        assert attn.decomposed == decomposed
        assert attn.interaction == interaction
    assert model.stages[3][1].mlp[0].out_features == 64


def test_norm_eval_keeps_statistics():
    model = IViT(TINY, norm_eval=True)
    assert model.train() is model
    before = copy.deepcopy(model.state_dict())
    model(torch.randn(2, 3, 64, 64) * 9)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    assert not any(m.training for m in norms)
    assert model.stages[2][1].training


def test_norm_eval_without_weights_warns(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'ivit.backbones.ivit.print_log', lambda line, **_: lines.append(line)
    )
    IViT(TINY).init_weights()
    assert not lines
    listed = [dict(type='Pretrained', checkpoint='nowhere.pth')]
    with pytest.raises(FileNotFoundError):
        IViT(TINY, norm_eval=True, init_cfg=listed).init_weights()
    assert not lines
    IViT(TINY, norm_eval=True).init_weights()
    assert 'norm_eval=True without a Pretrained init_cfg' in lines[0]


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(arch=dict(TINY, dims=(1, 8, 8, 8))), 'at least 2'),
        (dict(landmarks=7), 'landmarks=7 must be two integers'),
        (dict(mlp_ratio=0), 'mlp_ratio=0'),
        (dict(blocks=('conv',) * 3), r"blocks=\('conv', 'conv', 'conv'\)"),
        (dict(blocks=('mlp',) * 4), "'mlp'"),
        (dict(landmarks=(0, 0)), r'landmarks=\(0, 0\)'),
        (dict(interaction='none'), "interaction='none'"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        IViT(**{'arch': TINY, **kwargs})
