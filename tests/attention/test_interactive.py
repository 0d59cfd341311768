# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import itertools
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ivit.attention import InteractiveAttention, PointwiseLinear, chunks

# The paper's Fig. 2: (a) MHSA, (b) decomposition only, (c) interaction only,
# (d) iMHSA; and the interactions on one side of the softmax.
GRID = list(itertools.product((True, False), ('both', 'pre', 'post', None)))
SIZES = [(14, 14), (7, 7), (5, 9), (20, 3), (1, 1), (1, 13)]


def pool(x, hw_shape, grid):
    """Mean over each cell of the landmark grid, cell by cell."""
    height, width = hw_shape
    rows, cols = min(grid[0], height), min(grid[1], width)
    maps = x.reshape(*x.shape[:-2], height, width, x.shape[-1])
    cells = [
        maps[
            ...,
            i * height // rows : -(-(i + 1) * height // rows),
            j * width // cols : -(-(j + 1) * width // cols),
            :,
        ].mean((-3, -2))
        for i in range(rows)
        for j in range(cols)
    ]
    return torch.stack(cells, -2)


def reference(attn, x, hw_shape):
    """iMHSA in float64 and in the order that forms the N x N matrix."""
    batch, tokens, dim = x.shape
    heads = attn.num_heads
    weights = {k: v.double() for k, v in attn.state_dict().items()}
    x = x.double()

    def mixed(scores, name):
        weight = weights.get(f'{name}.weight')
        if weight is None:
            return scores
        bias = weights.get(f'{name}.bias', torch.zeros(heads).double())
        mix = torch.einsum('gh,bhmn->bgmn', weight, scores)
        return scores + mix + bias[:, None, None]

    def softmax(query, key, name):
        logits = torch.einsum('bhmd,bhnd->bhmn', query, key)
        logits = mixed(logits / (dim // heads) ** 0.5, f'{name}_logits')
        weights = logits.exp() / logits.exp().sum(-1, keepdim=True)
        return mixed(weights, f'{name}_weights')

    bias = weights.get('qkv.bias', torch.zeros(3 * dim).double())
    projected = x @ weights['qkv.weight'].T + bias
    query, key, value = (
        part.reshape(batch, tokens, heads, -1).transpose(1, 2)
        for part in projected.split(dim, -1)
    )
    if attn.decomposed:
        query_landmarks = pool(query, hw_shape, attn.landmarks)
        key_landmarks = pool(key, hw_shape, attn.landmarks)
        matrix = softmax(query, key_landmarks, 'mix_q') @ softmax(
            query_landmarks, key, 'mix_k'
        )
    else:
        matrix = softmax(query, key, 'mix')
    out = (matrix @ value).transpose(1, 2).reshape(batch, tokens, dim)
    return out @ weights['proj.weight'].T + weights['proj.bias']


def build(dim=24, heads=3, **kwargs):
    torch.manual_seed(0)
    attn = InteractiveAttention(dim, heads, **kwargs)
    for parameter in attn.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return attn


@pytest.mark.parametrize('hw_shape', SIZES)
@pytest.mark.parametrize(('decomposed', 'interaction'), GRID)
def test_equals_the_quadratic_reference(decomposed, interaction, hw_shape):
    attn = build(decomposed=decomposed, interaction=interaction)
    x = torch.randn(2, hw_shape[0] * hw_shape[1], 24)
    expected = reference(attn, x, hw_shape)
    torch.testing.assert_close(
        attn.double()(x.double(), hw_shape), expected, rtol=1e-10, atol=1e-10
    )
    torch.testing.assert_close(
        attn.float()(x, hw_shape).double(), expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize('landmarks', [(1, 1), (3, 5), (49, 49)])
@pytest.mark.parametrize('qkv_bias', [True, False])
def test_any_landmark_grid(landmarks, qkv_bias):
    attn = build(landmarks=landmarks, qkv_bias=qkv_bias).double()
    x = torch.randn(1, 12 * 10, 24).double()
    torch.testing.assert_close(
        attn(x, (12, 10)), reference(attn, x, (12, 10)), rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize('decomposed', [True, False])
def test_mixers_at_zero_change_nothing(decomposed):
    mixed = build(decomposed=decomposed).double()
    plain = build(decomposed=decomposed, interaction=None).double()
    plain.load_state_dict(mixed.state_dict(), strict=False)
    x = torch.randn(2, 30, 24).double()
    assert not torch.allclose(mixed(x, (5, 6)), plain(x, (5, 6)))
    for name, parameter in mixed.named_parameters():
        if name.startswith('mix'):
            parameter.data.zero_()
    torch.testing.assert_close(mixed(x, (5, 6)), plain(x, (5, 6)))


def test_plain_attention_is_torchs_multi_head_attention():
    attn = build(decomposed=False, interaction=None).double()
    torchs = torch.nn.MultiheadAttention(24, 3, batch_first=True).double()
    torchs.in_proj_weight.data = attn.qkv.weight.data
    torchs.in_proj_bias.data = attn.qkv.bias.data
    torchs.out_proj.load_state_dict(attn.proj.state_dict())
    x = torch.randn(2, 30, 24).double()
    expected, _ = torchs(x, x, x, need_weights=False)
    torch.testing.assert_close(attn(x, (5, 6)), expected)


@pytest.mark.parametrize(('decomposed', 'interaction'), GRID)
def test_gradients(decomposed, interaction):
    attn = build(8, 2, decomposed=decomposed, interaction=interaction)
    attn.double()
    x = torch.randn(2, 6, 8, dtype=torch.double, requires_grad=True)
    names, values = zip(*attn.named_parameters(), strict=True)

    def run(x, *values):
        return torch.func.functional_call(
            attn, dict(zip(names, values, strict=True)), (x, (2, 3))
        )

    assert torch.autograd.gradcheck(run, (x, *values))
    attn(x, (2, 3)).square().sum().backward()
    for name, parameter in attn.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(('decomposed', 'interaction'), GRID)
def test_autocast(decomposed, interaction, dtype):
    attn = build(decomposed=decomposed, interaction=interaction)
    x = torch.randn(2, 300, 24, requires_grad=True)
    expected = reference(attn, x.detach(), (20, 15))
    with torch.autocast('cpu', dtype=dtype):
        out = attn(x, (20, 15))
    assert out.dtype == dtype
    out.float().sum().backward()
    assert x.grad.isfinite().all()
    # Three rounded products deep: some units of the format's last place.
    error = (out.double() - expected).abs().max() / expected.abs().max()
    assert error < 8 * torch.finfo(dtype).eps


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_weights_in_half_precision(dtype):
    attn = build()
    x = torch.randn(2, 300, 24).to(dtype)
    expected = reference(attn, x, (20, 15))
    out = attn.to(dtype)(x, (20, 15))
    error = (out.double() - expected).abs().max() / expected.abs().max()
    assert error < 8 * torch.finfo(dtype).eps


def count_macs(attn, hw_shape):
    x = torch.randn(1, hw_shape[0] * hw_shape[1], attn.dim)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        attn(x, hw_shape)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize('hw_shape', [(28, 28), (56, 56), (40, 70)])
def test_cost_is_the_formula(hw_shape):
    dim, heads, landmarks = 64, 4, 49
    tokens = hw_shape[0] * hw_shape[1]
    attn = InteractiveAttention(dim, heads)
    # qkv and proj; qkv of the landmarks; two matrices and their products
    # with V; four mixers. O(N L h (d + h)), the paper's complexity.
    expected = (
        tokens * 4 * dim**2
        + landmarks * 3 * dim**2
        + 4 * tokens * landmarks * dim
        + 4 * tokens * landmarks * heads**2
    )
    assert count_macs(attn, hw_shape) == expected


class LivePeak(TorchDispatchMode):
    """Peak of the bytes of all storages alive, whoever holds them."""

    def __init__(self):
        super().__init__()
        self.sizes, self.live, self.peak = {}, 0, 0

    def _free(self, key):
        self.live -= self.sizes.pop(key)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in self.sizes:
                self.sizes[key] = storage.nbytes()
                self.live += storage.nbytes()
                weakref.finalize(storage, self._free, key)
        self.peak = max(self.peak, self.live)
        return out


def peak_memory(attn, side):
    x = torch.randn(1, side * side, attn.dim, requires_grad=True)
    with LivePeak() as tracker:
        attn(x, (side, side)).sum().backward()
    return tracker.peak


@pytest.mark.parametrize('interaction', ['both', None])
def test_training_memory_is_linear_in_tokens(interaction):
    attn = InteractiveAttention(32, 2, interaction=interaction)
    assert peak_memory(attn, 64) < 4.1 * peak_memory(attn, 32)


def test_undecomposed_memory_is_not_linear():
    attn = InteractiveAttention(32, 2, decomposed=False)
    assert peak_memory(attn, 48) > 8 * peak_memory(attn, 24)


@pytest.mark.parametrize('block', [1, 3000, 1 << 17])
@pytest.mark.parametrize('hw_shape', [(5, 9), (20, 13)])
@pytest.mark.parametrize(('decomposed', 'interaction'), GRID)
def test_in_chunks_without_gradients(
    decomposed, interaction, hw_shape, block, monkeypatch
):
    monkeypatch.setattr(chunks, 'CHUNK_ELEMENTS', block)
    attn = build(decomposed=decomposed, interaction=interaction).double()
    x = torch.randn(3, hw_shape[0] * hw_shape[1], 24).double()
    with torch.no_grad():
        out = attn(x, hw_shape)
    torch.testing.assert_close(
        out, reference(attn, x, hw_shape), rtol=1e-10, atol=1e-10
    )


def test_inference_never_has_a_whole_matrix():
    side, heads = 48, 8
    attn = InteractiveAttention(32, heads, decomposed=False)
    with LivePeak() as tracker, torch.no_grad():
        attn(torch.randn(1, side * side, 32), (side, side))
    assert tracker.peak < heads * side**4 * 4 / 8


def test_pointwise_linear_is_linear():
    layer = PointwiseLinear(5, 7)
    for x in (torch.randn(3, 5), torch.randn(2, 11, 5), torch.randn(0, 4, 5)):
        torch.testing.assert_close(
            layer(x), F.linear(x, layer.weight, layer.bias)
        )
    assert layer(torch.randn(2, 11, 5)).is_contiguous()


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(num_heads=5), 'num_heads=5 does not divide dim=24'),
        (dict(num_heads=0), 'num_heads=0'),
        (dict(landmarks=(0, 7)), r'landmarks=\(0, 7\)'),
        (dict(landmarks=(7,)), r'landmarks=\(7,\)'),
        (dict(interaction='all'), "interaction='all'"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        InteractiveAttention(**{'dim': 24, 'num_heads': 3, **kwargs})


@pytest.mark.parametrize('shape', [(2, 30, 23), (2, 29, 24)])
def test_bad_input(shape):
    with pytest.raises(ValueError, match=r'must be \(B, 30, 24\)'):
        build()(torch.randn(shape), (5, 6))
