# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Focused attention against its formula, step by step in float64."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ivit.attention import (
    FocusedLinearAttention,
    FocusedLinearAttentionPVT,
    focused_linear_attention,
    focused_map,
)
from ivit.attention.precision import wide_linear

SIZES = [(7, 7), (5, 9), (1, 13), (1, 1)]
POWERS = [2, 3, 4, 8, 32]
# Where all features of all tokens are negative.
DEAD = ['', 'q', 'k', 'qk']


def reference_map(x, scale, p):
    """f_p(ReLU(x)) with the powers as logarithms, which have the range."""
    t = (x.clamp(min=0) + 1e-6) / scale
    logs = p * t.log()
    norm = torch.logsumexp(2 * logs, -1, keepdim=True) / 2
    return (logs - norm).exp() * t.square().sum(-1, keepdim=True).sqrt()


def reference_attention(query, key, value, scale, heads, p):
    """Every head for itself, with its N x N matrix while that is small."""
    tokens, dim = key.shape[1], value.shape[2]
    query = reference_map(query, scale, p)
    key = reference_map(key, scale, p)
    outs = []
    for head in range(heads):
        part = slice(head * dim // heads, (head + 1) * dim // heads)
        q, k, v = query[..., part], key[..., part], value[..., part]
        if tokens <= 500:
            similar = q @ k.mT
            out = similar @ v / (similar.sum(-1, keepdim=True) + 1e-6 * tokens)
        else:
            mean = k.mean(1, keepdim=True)
            out = q @ (k.mT @ v / tokens) / (q @ mean.mT + 1e-6)
        outs.append(out)
    return torch.cat(outs, -1)


def reference(weights, x, hw_shape, heads, p):
    """The module, from its state dict in float64."""
    dim = x.shape[-1]

    def linear(name, x):
        bias = weights.get(f'{name}.bias', 0)
        return x @ weights[f'{name}.weight'].T + bias

    if 'qkv.weight' in weights:
        query, key, value = linear('qkv', x).split(dim, -1)
    else:
        query = linear('q', x)
        key, value = linear('kv', x).split(dim, -1)
    out = reference_attention(
        query,
        key + weights['positional_encoding'],
        value,
        torch.log1p(weights['scale'].exp()),
        heads,
        p,
    )
    kernel = weights['dwc.weight'].shape[-1]
    convolved = []
    for part in value.split(dim // heads, -1):
        maps = part.mT.reshape(*part.mT.shape[:2], *hw_shape)
        maps = F.pad(maps, [kernel // 2] * 4)
        # Shifted maps times one number of every channel's kernel.
        total = sum(
            maps[..., i : i + hw_shape[0], j : j + hw_shape[1]]
            * weights['dwc.weight'][:, 0, i, j, None, None]
            for i in range(kernel)
            for j in range(kernel)
        )
        total = total + weights['dwc.bias'][:, None, None]
        convolved.append(total.flatten(2).mT)
    return linear('proj', out + torch.cat(convolved, -1))


def in_double(attn):
    return {k: v.detach().double() for k, v in attn.named_parameters()}


def build(cls=FocusedLinearAttention, dim=24, heads=3, grid=(7, 7), **kwargs):
    torch.manual_seed(0)
    attn = cls(dim, heads, grid, **kwargs)
    for parameter in attn.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return attn


def error(value, expected):
    """The largest difference over the largest number expected."""
    value, largest = value.double(), expected.abs().max()
    if largest == 0:
        return value.abs().max().item()
    return ((value - expected).abs().max() / largest).item()


@pytest.mark.parametrize('p', [1, 1.5, 2.7, *POWERS])
def test_focused_map(p):
    torch.manual_seed(0)
    scale = torch.rand(1, 1, 12).double() + 0.1
    x = torch.randn(2, 9, 12).double()
    x[0, 0] = -x[0, 0].abs()
    expected = reference_map(x, scale, p)
    torch.testing.assert_close(
        focused_map(x, scale, p), expected, rtol=1e-10, atol=0
    )
    # The norm stays, and so does the direction for p = 1.
    t = (x.relu() + 1e-6) / scale
    torch.testing.assert_close(expected.norm(dim=-1), t.norm(dim=-1))
    assert torch.allclose(expected, t) is (p == 1)
    out = focused_map(x.half(), scale.half(), p)
    assert out.dtype == torch.float32


@pytest.mark.parametrize('p', [1, 2.7, 3, 32])
def test_gradients_of_the_map(p):
    torch.manual_seed(0)
    scale = torch.rand(1, 1, 6).double() + 0.5
    x = torch.randn(1, 5, 6).double()
    x[0, 0] = 0.7  # all channels are the largest
    x[0, 1, :2] = 3.1  # two are
    x[0, 2] = -0.4  # none counts
    x.requires_grad_()
    scale.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, scale: focused_map(x, scale, p), (x, scale)
    )


@pytest.mark.parametrize('heads', [1, 2, 6])
@pytest.mark.parametrize('tokens', [(1, 1), (40, 40), (7, 30)])
def test_attention_of_given_queries(heads, tokens):
    torch.manual_seed(0)
    query = torch.randn(2, tokens[0], 12).double()
    key, value = torch.randn(2, 2, tokens[1], 12).double()
    scale = torch.rand(1, 1, 12).double() + 0.5
    torch.testing.assert_close(
        focused_linear_attention(query, key, value, scale, heads, 3),
        reference_attention(query, key, value, scale, heads, 3),
        rtol=1e-9,
        atol=1e-9,
    )


def test_keys_that_do_not_count():
    """They might as well not be there, whatever they are."""
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 10, 12)
    scale = torch.ones(1, 1, 12).requires_grad_()
    valid = torch.rand(2, 10) > 0.5
    garbage = torch.tensor([float('inf'), -1e30, 6e4, float('nan')])
    for part in (key, value):
        part[~valid] = garbage.repeat(3)
    query, key, value = (x.requires_grad_() for x in (query, key, value))
    out = focused_linear_attention(query, key, value, scale, 2, 3, valid)
    out.sum().backward()
    for x in (query, key, value, scale):
        assert x.grad.isfinite().all()
    assert (key.grad[~valid] == 0).all() and (value.grad[~valid] == 0).all()
    for i in range(2):
        expected = reference_attention(
            query[i : i + 1].double(),
            key[i : i + 1, valid[i]].double(),
            value[i : i + 1, valid[i]].double(),
            scale.double(),
            2,
            3,
        )
        assert error(out[i : i + 1], expected) < 1e-5


CLASSES = [FocusedLinearAttention, FocusedLinearAttentionPVT]


@pytest.mark.parametrize('hw_shape', SIZES)
@pytest.mark.parametrize('cls', CLASSES)
@pytest.mark.parametrize(
    'kwargs',
    [
        dict(),
        dict(qkv_bias=False),
        dict(kernel_size=1),
        dict(kernel_size=3, focusing_factor=2),
        dict(focusing_factor=3.5),
        dict(focusing_factor=32),
    ],
)
def test_equals_the_reference(cls, kwargs, hw_shape):
    attn = build(cls, grid=hw_shape, **kwargs)
    x = torch.randn(2, hw_shape[0] * hw_shape[1], 24)
    p = kwargs.get('focusing_factor', 3)
    expected = reference(in_double(attn), x.double(), hw_shape, 3, p)
    assert error(attn(x, hw_shape), expected) < 1e-4
    assert error(attn.double()(x.double(), hw_shape), expected) < 1e-11


@pytest.mark.parametrize('cls', CLASSES)
def test_gradients(cls):
    attn = build(cls, 8, 2, (2, 3)).double()
    x = torch.randn(2, 6, 8, dtype=torch.double, requires_grad=True)
    names, values = zip(*attn.named_parameters(), strict=True)

    def run(x, *values):
        return torch.func.functional_call(
            attn, dict(zip(names, values, strict=True)), (x, (2, 3))
        )

    assert torch.autograd.gradcheck(run, (x, *values))
    attn(x, (2, 3)).square().sum().backward()
    for name, parameter in attn.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_names_and_shapes_are_the_authors():
    common = {
        'scale': (1, 1, 24),
        'positional_encoding': (1, 63, 24),
        'dwc.weight': (8, 1, 5, 5),
        'dwc.bias': (8,),
        'proj.weight': (24, 24),
        'proj.bias': (24,),
    }
    projections = {
        FocusedLinearAttention: {
            'qkv.weight': (72, 24),
            'qkv.bias': (72,),
        },
        FocusedLinearAttentionPVT: {
            'q.weight': (24, 24),
            'q.bias': (24,),
            'kv.weight': (48, 24),
            'kv.bias': (48,),
        },
    }
    for cls, own in projections.items():
        attn = cls(24, 3, (7, 9))
        shapes = {k: tuple(v.shape) for k, v in attn.state_dict().items()}
        assert shapes == common | own
        # As the published models start: softplus(0) = ln 2, no position.
        assert not attn.scale.any() and not attn.positional_encoding.any()


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


@pytest.mark.parametrize('window_size', [None, (4, 4)])
@pytest.mark.parametrize('cls', CLASSES)
def test_autocast_changes_no_bit(cls, window_size):
    attn = build(cls, grid=window_size or (7, 7), window_size=window_size)
    x = torch.randn(2, 49, 24)
    expected = attn(x, (7, 7))
    for dtype in (torch.float16, torch.bfloat16):
        with torch.autocast('cpu', dtype):
            assert torch.equal(attn(x, (7, 7)), expected)
            assert wide_linear(attn.proj, x).dtype == torch.float32


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


@pytest.mark.parametrize('window_size', [None, (4, 4)])
def test_a_map_gives_in_a_batch_what_it_gives_alone(window_size):
    """To rounding: BLAS may sum batches of other sizes in another order."""
    attn = build(grid=window_size or (7, 7), window_size=window_size).double()
    x = torch.randn(5, 13 * 9, 24).double()
    x[1] *= 1000
    x[2] = -x[2].abs()
    together = attn(x, (13, 9))
    for i in range(5):
        alone = attn(x[i : i + 1], (13, 9))
        assert error(together[i : i + 1], alone) < 1e-13


@pytest.mark.parametrize('hw_shape', [(4, 4), (8, 12), (9, 5), (2, 3), (1, 1)])
@pytest.mark.parametrize('cls', CLASSES)
def test_tiles(cls, hw_shape):
    """Each tile, cut at the border of the map, is a map of its own."""
    height, width = hw_shape
    attn = build(cls, grid=(4, 3), window_size=(4, 3)).double()
    x = torch.randn(2, height * width, 24).double()
    weights = in_double(attn)
    table = weights['positional_encoding'].reshape(4, 3, 24)
    maps = x.reshape(2, height, width, 24)
    expected = torch.zeros_like(maps)
    for top, left in itertools.product(
        range(0, height, 4), range(0, width, 3)
    ):
        tile = maps[:, top : top + 4, left : left + 3]
        shape = tuple(tile.shape[1:3])
        weights['positional_encoding'] = table[: shape[0], : shape[1]].reshape(
            1, -1, 24
        )
        out = reference(weights, tile.flatten(1, 2), shape, 3, 3)
        expected[:, top : top + 4, left : left + 3] = out.view_as(tile)
    out = attn(x, hw_shape)
    assert error(out, expected.flatten(1, 2)) < 1e-11


def test_tiles_resize_their_table():
    """A tile of another size than the table's grid is a map of its size."""
    tiled = build(grid=(7, 7), window_size=(4, 6)).double()
    whole = build(grid=(7, 7)).double()
    x = torch.randn(2, 24, 24).double()
    assert error(tiled(x, (4, 6)), whole(x, (4, 6))) < 1e-12


def count_macs(attn, side):
    x = torch.randn(1, side * side, attn.dim)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        attn(x, (side, side))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize('cls', CLASSES)
@pytest.mark.parametrize('heads', [1, 4])
def test_cost_is_the_formula(cls, heads):
    dim = 32
    attn = build(cls, dim, heads, (16, 16))
    for side in (8, 16, 32):
        # Projections, K^T V and Q (K^T V), DWC: linear in N.
        macs = 4 * dim**2 + 2 * dim**2 // heads + 25 * dim
        assert count_macs(attn, side) == side**2 * macs


class Largest(TorchDispatchMode):
    """Bytes of the largest storage that any operation makes."""

    nbytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                nbytes = tensor.untyped_storage().nbytes()
                self.nbytes = max(self.nbytes, nbytes)
        return out


@pytest.mark.parametrize('side', [16, 64])
def test_training_memory_is_linear_in_tokens(side):
    attn = build(dim=32, heads=2)
    x = torch.randn(1, side * side, 32, requires_grad=True)
    with Largest() as largest:
        attn(x, (side, side)).sum().backward()
    # Nothing larger than Q, K and V together.
    assert largest.nbytes == side**2 * 3 * 32 * 4


def test_on_meta_tensors():
    with torch.device('meta'):
        for window_size in (None, (4, 4)):
            attn = FocusedLinearAttention(
                24, 3, (7, 7), window_size=window_size
            )
            assert attn(torch.randn(2, 45, 24), (5, 9)).shape == (2, 45, 24)


@pytest.mark.parametrize('cls', CLASSES)
@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(num_heads=5), 'num_heads=5 does not divide dim=24'),
        (dict(num_heads=0), 'num_heads=0'),
        (dict(focusing_factor=0.9), 'focusing_factor=0.9 must be'),
        (dict(focusing_factor=float('nan')), 'focusing_factor=nan'),
        (dict(focusing_factor=float('inf')), 'focusing_factor=inf'),
        (dict(focusing_factor='3'), "focusing_factor='3'"),
        (dict(kernel_size=4), 'kernel_size=4 must be odd'),
        (dict(kernel_size=-1), 'kernel_size=-1'),
        (dict(kernel_size=5.0), 'kernel_size=5.0'),
        (dict(grid_size=(0, 7)), r'grid_size=\(0, 7\) must be'),
        (dict(grid_size=7), 'grid_size=7'),
        (dict(window_size=(7,)), r'window_size=\(7,\)'),
        (dict(window_size=7), 'window_size=7'),
        (dict(window_size=0), 'window_size=0'),
        (dict(window_size=(7, 0)), r'window_size=\(7, 0\)'),
    ],
)
def test_bad_arguments(cls, kwargs, message):
    with pytest.raises(ValueError, match=message):
        cls(**{'dim': 24, 'num_heads': 3, 'grid_size': (7, 7), **kwargs})


@pytest.mark.parametrize('shape', [(2, 30, 23), (2, 29, 24), (30, 24)])
def test_bad_input(shape):
    with pytest.raises(ValueError, match=r'must be \(B, 30, 24\)'):
        build()(torch.randn(shape), (5, 6))
