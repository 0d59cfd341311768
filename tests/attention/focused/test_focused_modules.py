# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Focused attention against its formula, step by step in float64."""

import itertools

import pytest
import torch
from focused_reference import (
    build,
    error,
    in_double,
    reference,
    reference_attention,
    reference_map,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ivit.attention import (
    FocusedLinearAttention,
    FocusedLinearAttentionPVT,
    focused_linear_attention,
    focused_map,
)

SIZES = [(7, 7), (5, 9), (1, 13), (1, 1)]
POWERS = [2, 3, 4, 8, 32]


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
    out = focused_linear_attention(query, key, value, scale, 2, 3, valid=valid)
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
        dict(kernel_size=None),
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


def test_plain_linear_attention():
    """p = 1 without DWC: ReLU is the feature map, and nothing else."""
    attn = build(
        dim=8, heads=2, grid=(3, 4), focusing_factor=1, kernel_size=None
    ).double()
    x = torch.randn(2, 12, 8).double()
    weights = in_double(attn)
    qkv = x @ weights['qkv.weight'].T + weights['qkv.bias']
    query, key, value = qkv.split(8, -1)
    scale = torch.log1p(weights['scale'].exp())
    query = (query.clamp(min=0) + 1e-6) / scale
    key = key + weights['positional_encoding']
    key = (key.clamp(min=0) + 1e-6) / scale
    outs = []
    for head in (slice(0, 4), slice(4, 8)):
        similar = query[..., head] @ key[..., head].mT
        total = similar.sum(-1, keepdim=True) + 12 * 1e-6
        outs.append(similar / total @ value[..., head])
    expected = torch.cat(outs, -1) @ weights['proj.weight'].T
    expected = expected + weights['proj.bias']
    assert error(attn(x, (3, 4)), expected) < 1e-13


@pytest.mark.parametrize('kernel_size', [5, None])
@pytest.mark.parametrize('cls', CLASSES)
def test_gradients(cls, kernel_size):
    attn = build(cls, 8, 2, (2, 3), kernel_size=kernel_size).double()
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
        bare = cls(24, 3, (7, 9), kernel_size=None).state_dict()
        assert set(shapes) - set(bare) == {'dwc.weight', 'dwc.bias'}
        assert set(bare) < set(shapes)
        # As the published models start: softplus(0) = ln 2, no position.
        assert not attn.scale.any() and not attn.positional_encoding.any()


@pytest.mark.parametrize('tile_size', [None, (4, 4)])
def test_a_map_gives_in_a_batch_what_it_gives_alone(tile_size):
    """To rounding: BLAS may sum batches of other sizes in another order."""
    attn = build(grid=tile_size or (7, 7), tile_size=tile_size).double()
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
    attn = build(cls, grid=(4, 3), tile_size=(4, 3)).double()
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
    tiled = build(grid=(7, 7), tile_size=(4, 6)).double()
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
        for tile_size in (None, (4, 4)):
            attn = FocusedLinearAttention(24, 3, (7, 7), tile_size=tile_size)
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
        (dict(kernel_size=4), 'kernel_size=4 must be odd.*None for no con'),
        (dict(kernel_size=0), 'kernel_size=0'),
        (dict(kernel_size=-1), 'kernel_size=-1'),
        (dict(kernel_size=5.0), 'kernel_size=5.0'),
        (dict(grid_size=(0, 7)), r'grid_size=\(0, 7\) must be'),
        (dict(grid_size=7), 'grid_size=7'),
        (dict(tile_size=(7,)), r'tile_size=\(7,\)'),
        (dict(tile_size=7), 'tile_size=7'),
        (dict(tile_size=0), 'tile_size=0'),
        (dict(tile_size=(7, 0)), r'tile_size=\(7, 0\)'),
    ],
)
def test_bad_arguments(cls, kwargs, message):
    with pytest.raises(ValueError, match=message):
        cls(**{'dim': 24, 'num_heads': 3, 'grid_size': (7, 7), **kwargs})


@pytest.mark.parametrize('shape', [(2, 30, 23), (2, 29, 24), (30, 24)])
def test_bad_input(shape):
    with pytest.raises(ValueError, match=r'must be \(B, 30, 24\)'):
        build()(torch.randn(shape), (5, 6))
