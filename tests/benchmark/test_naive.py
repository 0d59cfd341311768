# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What ours is timed against computes the same."""

import pytest
import torch

from ivit.attention import FocusedLinearAttention, PointwiseLinear
from ivit.backbones import FLattenCSwin, FLattenSwin
from ivit.benchmark import build_backbone
from ivit.benchmark.naive import (
    NaiveAttention,
    make_naive,
)


def randomize(model):
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if 'norm' not in name:
            torch.nn.init.normal_(parameter, std=0.1, generator=generator)


@pytest.mark.parametrize(
    'name', ['flatten_swin_n', 'flatten_pvt_v2_n', 'flatten_deit_n']
)
def test_same_outputs_and_gradients(name):
    model = build_backbone(name).double()
    randomize(model)
    names = [n for n, _ in model.named_parameters()]
    image = torch.rand(2, 3, 32, 64, dtype=torch.float64)

    def run():
        outs = model(image)
        loss = sum(out.square().mean() for out in outs)
        return outs, torch.autograd.grad(loss, list(model.parameters()))

    outs, gradients = run()
    make_naive(model)
    assert any(isinstance(m, NaiveAttention) for m in model.modules())
    assert not any(isinstance(m, PointwiseLinear) for m in model.modules())
    assert [n for n, _ in model.named_parameters()] == names
    others, other_gradients = run()
    for ours, other in zip(
        (*outs, *gradients), (*others, *other_gradients), strict=True
    ):
        torch.testing.assert_close(ours, other, rtol=1e-6, atol=1e-9)


def test_without_convolution():
    attn = FocusedLinearAttention(8, 2, (3, 4), kernel_size=None).double()
    x = torch.rand(2, 12, 8, dtype=torch.float64)
    naive = NaiveAttention(attn)
    torch.testing.assert_close(naive(x, (3, 4)), attn(x, (3, 4)))


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        (lambda: FLattenCSwin('n'), 'no focused attention'),
        (lambda: FLattenSwin('n', tile_size=8), 'tile_size='),
    ],
)
def test_without_a_counterpart(model, message):
    with pytest.raises(ValueError, match=message):
        make_naive(model())
