# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Multiply-adds against formulas by hand, from widths and depths."""

from math import ceil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ivit.benchmark import BackboneWork
from ivit.benchmark.compare import count_macs
from ivit.benchmark.cost import measure
from ivit.benchmark.workload import Setting


def grids(shape):
    return [tuple(ceil(n / s) for n in shape) for s in (4, 8, 16, 32)]


def focused(tokens, dim, head_dim):
    """k^T v and q (k^T v) of every head, and DWC of 5 x 5."""
    return tokens * dim * (2 * head_dim + 25)


def flatten_swin_t(shape):
    macs = 0
    for i, (h, w) in enumerate(grids(shape)):
        n, dim = h * w, 96 * 2**i
        # Patches of 4 x 4 of 3 channels, then of 2 x 2.
        macs += n * dim * (48 if i == 0 else 4 * dim // 2)
        # q, k, v, proj and an MLP of 4 C.
        block = 12 * n * dim**2
        if i < 2:
            block += focused(n, dim, 32)
        else:
            block += 2 * ceil(h / 7) * ceil(w / 7) * 49**2 * dim
        macs += (2, 2, 6, 2)[i] * block
    return macs


def flatten_cswin_t(shape):
    macs = 0
    for i, (h, w) in enumerate(grids(shape)):
        n, dim = h * w, 64 * 2**i
        macs += n * dim * (3 * 49 if i == 0 else 9 * dim // 2)
        block = 12 * n * dim**2
        if i < 2:
            block += focused(n, dim, 32) + 9 * n * dim
        elif i == 2:
            # Half of the channels in stripes of h x 7, half of 7 x w.
            for along, across in ((h, w), (w, h)):
                stripe = 7 * along
                padded = ceil(across / 7) * stripe
                block += padded * dim // 2 * (2 * stripe + 9)
        else:
            block += n * dim * (2 * n + 9)
        macs += (2, 4, 18, 1)[i] * block
    return macs


def flatten_pvt_v2_b2(shape):
    macs, channels = 0, 3
    for i, (h, w) in enumerate(grids(shape)):
        n, dim = h * w, (64, 128, 320, 512)[i]
        ratio = (8, 8, 4, 4)[i]
        macs += n * dim * channels * (9 if i else 49)
        # q, k, v, proj; the MLP with its 3 x 3 depthwise convolution.
        block = n * ((4 + 2 * ratio) * dim**2 + 9 * ratio * dim)
        macs += (3, 4, 6, 3)[i] * (block + focused(n, dim, 64))
        channels = dim
    return macs


def ivit_s(shape):
    h, w = (ceil(n / 2) for n in shape)
    macs, channels = h * w * 32 * 3 * 9, 32
    for i, (h, w) in enumerate(grids(shape)):
        n, dim = h * w, (64, 128, 320, 512)[i]
        heads = dim // 32
        macs += n * dim * channels * 9
        block = 2 * n * 9 * dim**2  # two convolutions of 3 x 3
        if i >= 2:
            marks = min(h, 7) * min(w, 7)
            # Position; q, k, v, proj, MLP; q, k, v of the landmarks.
            block = 9 * n * dim + 12 * n * dim**2
            block += 3 * marks * dim**2 * (marks < n)
            # Two matrices of landmarks and tokens, each once made and once
            # used, with a mixer of heads before and after its softmax.
            block += 4 * marks * n * (dim + heads**2)
        macs += (2, 2, 8, 4)[i] * block
        channels = dim
    return macs


@pytest.mark.parametrize('shape', [(224, 224), (800, 1344)])
@pytest.mark.parametrize(
    'formula', [flatten_swin_t, flatten_cswin_t, flatten_pvt_v2_b2, ivit_s]
)
def test_backbones_by_hand(formula, shape):
    with torch.device('meta'):
        work = BackboneWork(formula.__name__, shape, Setting(device='meta'))
        assert count_macs(work.build()) == formula(shape)


@pytest.mark.parametrize('device', ['cpu', 'meta'])
@pytest.mark.parametrize('gradients', [False, True])
def test_softmax_attention_on_every_path(device, gradients):
    query, key = (torch.rand(2, 3, n, 8, device=device) for n in (5, 7))
    query.requires_grad_(gradients)
    with measure() as meter, torch.set_grad_enabled(gradients):
        F.scaled_dot_product_attention(query, key, key)
    assert meter.total.macs == meter.total.products == 2 * 2 * 3 * 5 * 7 * 8


def test_encoder_layer_is_not_fused_away():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    with measure() as meter:
        layer(torch.rand(2, 5, 16))
    assert meter.total.macs == 2 * 5 * (4 * 16 + 2 * 32) * 16 + 2 * 2 * 25 * 16
    assert torch.backends.mha.get_fastpath_enabled()


def test_what_has_no_formula_is_named():
    x = torch.rand(2, 3, 4, 4)
    with measure() as meter, meter.within('a'):
        y = F.softmax(F.conv2d(x, torch.rand(5, 3, 1, 1)), 1)
        with meter.within('b'):
            F.avg_pool2d(y.permute(0, 2, 3, 1).contiguous(), 2)
    assert meter.costs['a'].macs == 2 * 16 * 3 * 5
    assert meter.costs['a'].uncounted == {'_softmax': 2 * 16 * 5}
    assert meter.costs['b'].uncounted == {'avg_pool2d': 2 * 16 * 5}
    assert meter.total.uncounted.total() == 2 * 2 * 16 * 5
