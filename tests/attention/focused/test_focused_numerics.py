# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Focused attention in 16 bits, of large numbers and large maps."""

import math

import pytest
import torch
from focused_reference import (
    build,
    error,
    in_double,
    reference,
    reference_attention,
)

from ivit.attention import (
    FocusedLinearAttention,
    FocusedLinearAttentionPVT,
    focused_linear_attention,
)
from ivit.attention.precision import linear_in_float32

CLASSES = [FocusedLinearAttention, FocusedLinearAttentionPVT]
POWERS = [2, 3, 4, 8, 32]
# Where all features of all tokens are negative.
DEAD = ['', 'q', 'k', 'qk']

# Numerics. Errors are over the largest number of the reference, for the
# output and for the gradient of the input and of every parameter.


def kill(attn, dead):
    """Make all of Q or K negative: zero weights, a bias below zero."""
    dim = attn.dim
    rows = {'q': slice(0, dim), 'k': slice(dim, 2 * dim)}
    with torch.no_grad():
        for name in dead:
            attn.qkv.weight[rows[name]] = 0
            attn.qkv.bias[rows[name]] = -1
        if 'k' in dead:
            attn.positional_encoding.clamp_(max=0.5)


def errors(attn, x, hw_shape, autocast=None):
    """Of the output and all gradients, by name."""
    x = x.requires_grad_()
    weights = {k: v.requires_grad_() for k, v in in_double(attn).items()}
    wide = x.detach().double().requires_grad_()
    expected = reference(
        weights, wide, hw_shape, attn.num_heads, attn.focusing_factor
    )
    # Gradients of a size that 16 bits have, as loss scaling makes them.
    torch.manual_seed(1)
    upstream = torch.randn_like(expected) / expected.detach().abs().max()
    upstream = upstream.to(x.dtype)
    expected.backward(upstream.double())
    with torch.autocast('cpu', autocast, enabled=autocast is not None):
        out = attn(x, hw_shape)
    assert out.dtype == x.dtype
    out.backward(upstream)
    found = {'out': error(out, expected), 'x': error(x.grad, wide.grad)}
    for name, parameter in attn.named_parameters():
        assert parameter.grad.dtype == parameter.dtype
        found[name] = error(parameter.grad, weights[name].grad)
    return found


@pytest.mark.parametrize('dead', DEAD)
@pytest.mark.parametrize('p', POWERS)
@pytest.mark.parametrize('size', [1, 30, 1000])
@pytest.mark.parametrize('mode', ['float32', 'half', 'float16', 'bfloat16'])
def test_numerics(mode, size, p, dead):
    attn = build(dim=32, heads=2, grid=(20, 15), focusing_factor=p)
    kill(attn, dead)
    x = torch.randn(2, 300, 32) * size
    # Some tokens have only negative features in any case.
    x[..., 0] = 0
    x[:, :3, 0] = 20 * size
    with torch.no_grad():
        attn.qkv.weight[:64, 0] = -1
    if mode == 'half':
        attn, x = attn.half(), x.half()
    autocast = getattr(torch, mode, None) if 'float16' in mode else None
    found = errors(attn, x, (20, 15), autocast)
    assert {k: v for k, v in found.items() if not v < 1e-2} == {}


@pytest.mark.parametrize('tile_size', [None, (4, 4)])
@pytest.mark.parametrize('cls', CLASSES)
def test_autocast_changes_no_bit(cls, tile_size):
    attn = build(cls, grid=tile_size or (7, 7), tile_size=tile_size)
    x = torch.randn(2, 49, 24)
    expected = attn(x, (7, 7))
    for dtype in (torch.float16, torch.bfloat16):
        with torch.autocast('cpu', dtype):
            assert torch.equal(attn(x, (7, 7)), expected)
            assert linear_in_float32(attn.proj, x).dtype == torch.float32


@pytest.mark.parametrize(
    ('mode', 'size', 'p'),
    [('float16', 1000, 3), ('half', 1000, 32), ('bfloat16', 30, 4)],
)
def test_numerics_of_a_large_map(mode, size, p):
    hw_shape = (240, 280)
    attn = build(dim=32, heads=1, grid=hw_shape, focusing_factor=p)
    x = torch.randn(1, 240 * 280, 32) * size
    if mode == 'half':
        attn, x = attn.half(), x.half()
        with torch.no_grad():
            out = attn(x, hw_shape)
            expected = reference(in_double(attn), x.double(), hw_shape, 1, p)
        assert error(out, expected) < 1e-2
        return
    found = errors(attn, x, hw_shape, getattr(torch, mode))
    assert {k: v for k, v in found.items() if not v < 1e-2} == {}


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('p', POWERS)
def test_function_of_half_precision(p, dtype):
    """Up to the largest numbers of float16, autocast or not."""
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 300, 16) * 1000
    query[0, 0] = key[1, 1] = 6e4
    query[0, 2] = key[0, 3] = -1
    query, key, value = (x.to(dtype) for x in (query, key, value))
    scale = torch.full((1, 1, 16), math.log(2))
    expected = reference_attention(
        *(x.double() for x in (query, key, value, scale)), 2, p
    )
    for enabled in (False, True):
        with torch.autocast('cpu', dtype, enabled=enabled):
            out = focused_linear_attention(query, key, value, scale, 2, p)
        assert out.dtype == dtype
        # One rounding, of the result.
        assert error(out, expected) < torch.finfo(dtype).eps


def test_a_scale_too_small_for_half_precision():
    """softplus(-20) is 2e-9, and 0 in float16."""
    attn = build()
    with torch.no_grad():
        attn.scale.fill_(-20)
    attn = attn.half()
    x = torch.randn(1, 49, 24).half()
    expected = reference(in_double(attn), x.double(), (7, 7), 3, 3)
    assert error(attn(x, (7, 7)), expected) < 1e-2
