# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What FLatten-Swin alone has."""

import itertools

import pytest
import torch

from ivit.attention import FocusedLinearAttention, WindowAttention
from ivit.backbones import FLattenSwin
from ivit.backbones.flatten_swin import PatchMerging


def official_layout(depths, heads, width, img_size):
    """Names and shapes of the authors' files, without norm and head."""
    side, window = img_size // 4, 12 if img_size == 384 else 7
    layout = {
        'patch_embed.proj.weight': (width, 3, 4, 4),
        'patch_embed.proj.bias': (width,),
        'patch_embed.norm.weight': (width,),
        'patch_embed.norm.bias': (width,),
    }
    for i, depth in enumerate(depths):
        dim, grid = width << i, side >> i
        for j in range(depth):
            block = {
                'norm1.weight': (dim,),
                'norm1.bias': (dim,),
                'norm2.weight': (dim,),
                'norm2.bias': (dim,),
                'mlp.fc1.weight': (4 * dim, dim),
                'mlp.fc1.bias': (4 * dim,),
                'mlp.fc2.weight': (dim, 4 * dim),
                'mlp.fc2.bias': (dim,),
                'attn.qkv.weight': (3 * dim, dim),
                'attn.qkv.bias': (3 * dim,),
                'attn.proj.weight': (dim, dim),
                'attn.proj.bias': (dim,),
            }
            if i < 2:
                block['attn.scale'] = (1, 1, dim)
                block['attn.positional_encoding'] = (1, grid**2, dim)
                block['attn.dwc.weight'] = (32, 1, 5, 5)
                block['attn.dwc.bias'] = (32,)
            else:
                block['attn.relative_position_bias_table'] = (
                    (2 * window - 1) ** 2,
                    heads[i],
                )
            for name, shape in block.items():
                layout[f'layers.{i}.blocks.{j}.{name}'] = shape
        if i < 3:
            merging = f'layers.{i}.downsample'
            layout[f'{merging}.reduction.weight'] = (2 * dim, 4 * dim)
            layout[f'{merging}.norm.weight'] = (4 * dim,)
            layout[f'{merging}.norm.bias'] = (4 * dim,)
    return layout


@pytest.mark.parametrize(
    ('arch', 'img_size', 'depths', 'heads', 'width'),
    [
        ('t', 224, (2, 2, 6, 2), (3, 6, 12, 24), 96),
        ('s', 224, (2, 2, 18, 2), (3, 6, 12, 24), 96),
        ('b', 224, (2, 2, 18, 2), (4, 8, 16, 32), 128),
        ('b', 384, (2, 2, 18, 2), (4, 8, 16, 32), 128),
    ],
)
def test_names_and_shapes_are_the_authors(
    arch, img_size, depths, heads, width
):
    with torch.device('meta'):
        model = FLattenSwin(arch, img_size=img_size, norm_outputs=False)
    layout = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    assert layout == official_layout(depths, heads, width, img_size)


@pytest.mark.parametrize(('img_size', 'window'), [(224, 7), (384, 12)])
def test_windows_and_shifts(img_size, window):
    """Shifted in every other block, but not where one window is the map."""
    with torch.device('meta'):
        model = FLattenSwin('t', img_size=img_size)
    for i, stage in enumerate(model.layers):
        for j, block in enumerate(stage.blocks):
            if i < 2:
                assert isinstance(block.attn, FocusedLinearAttention)
                assert block.attn.tile_size is None
                continue
            shift = window // 2 if i == 2 and j % 2 else 0
            assert block.attn.window == (window, window)
            assert block.attn.shift == (shift, shift)


def test_mixed_stage():
    with torch.device('meta'):
        stage = FLattenSwin('t', attn_type='LLMS3').layers[2]
    kinds = [isinstance(b.attn, FocusedLinearAttention) for b in stage.blocks]
    assert kinds == [True] * 3 + [False] * 3
    assert [b.attn.shift for b in stage.blocks[3:]] == [(3, 3), (0, 0), (3, 3)]


def test_initial_weights():
    torch.manual_seed(0)
    model = FLattenSwin('n', img_size=128, window_size=8)
    model.init_weights()
    focused, softmax = (model.layers[i].blocks[0].attn for i in (0, 2))
    assert not focused.scale.any()
    assert not focused.positional_encoding.any()
    assert not focused.qkv.bias.any()
    assert focused.qkv.weight.std().item() == pytest.approx(0.02, rel=0.1)
    table = softmax.relative_position_bias_table
    assert table.std().item() == pytest.approx(0.02, rel=0.1)
    # PyTorch's own, uniform in +-1 / sqrt(25).
    assert focused.dwc.weight.std().item() == pytest.approx(
        0.2 / 3**0.5, rel=0.1
    )
    assert (model.norm0.weight == 1).all()


@pytest.mark.parametrize('size', [(4, 6), (5, 3), (1, 1)])
def test_merging_takes_rows_first(size):
    torch.manual_seed(0)
    merging = PatchMerging(2, 3).double()
    height, width = size
    x = torch.randn(2, height * width, 2).double()
    out, hw_shape = merging(x, size)
    assert hw_shape == (-(-height // 2), -(-width // 2))
    maps = torch.zeros(2, 2 * hw_shape[0], 2 * hw_shape[1], 2).double()
    maps[:, :height, :width] = x.view(2, height, width, 2)
    for r, c in itertools.product(*map(range, hw_shape)):
        four = [(0, 0), (1, 0), (0, 1), (1, 1)]
        four = [maps[:, 2 * r + i, 2 * c + j] for i, j in four]
        want = merging.reduction(merging.norm(torch.cat(four, -1)))
        torch.testing.assert_close(out[:, r * hw_shape[1] + c], want)


@pytest.mark.parametrize('shift', [0, 1])
@pytest.mark.parametrize('size', [(6, 9), (7, 5), (2, 4), (1, 1), (3, 8)])
def test_window_attention_token_by_token(size, shift):
    """Windows of 3 x 3: padding is seen by nobody, and borders stay apart."""
    torch.manual_seed(0)
    window, heads, dim = 3, 2, 4
    attn = WindowAttention(dim, heads, (window,) * 2, (shift,) * 2).double()
    torch.nn.init.normal_(attn.relative_position_bias_table)
    height, width = size
    x = torch.randn(2, height * width, dim).double()
    q, k, v = attn.qkv(x).view(2, -1, 3, heads, dim // heads).unbind(2)

    def place(index):
        """Window and place in it, along both sides."""
        answer = []
        for at, n in zip(divmod(index, width), size, strict=True):
            by = shift if n > window else 0
            answer.append(divmod(at - by, window))
        return answer

    want = torch.empty_like(v)
    for i in range(height * width):
        (wr, r), (wc, c) = place(i)
        seen, bias = [], []
        for j in range(height * width):
            (wr2, r2), (wc2, c2) = place(j)
            if (wr, wc) == (wr2, wc2):
                seen.append(j)
                row = (r - r2 + window - 1) * (2 * window - 1)
                bias.append(row + c - c2 + window - 1)
        logits = torch.einsum('bhd,bjhd->bjh', q[:, i], k[:, seen])
        logits = logits / (dim // heads) ** 0.5
        logits = logits + attn.relative_position_bias_table[bias]
        want[:, i] = torch.einsum(
            'bjh,bjhd->bhd', logits.softmax(1), v[:, seen]
        )
    torch.testing.assert_close(attn(x, size), attn.proj(want.flatten(2)))
