# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What FLatten-CSwin alone has."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from ivit.attention import FocusedLinearAttentionCSwin, StripeAttention
from ivit.backbones import FLattenCSwin
from ivit.backbones.flatten_cswin import ConvEmbed, CSwinBlock, Merge


def official_layout(depths, width, head_dim, img_size):
    """Names and shapes of the authors' files, without norm and head."""
    side = img_size // 4
    layout = {
        'stage1_conv_embed.0.weight': (width, 3, 7, 7),
        'stage1_conv_embed.0.bias': (width,),
        'stage1_conv_embed.2.weight': (width,),
        'stage1_conv_embed.2.bias': (width,),
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
                'qkv.weight': (3 * dim, dim),
                'qkv.bias': (3 * dim,),
                'proj.weight': (dim, dim),
                'proj.bias': (dim,),
            }
            if i < 2:
                block['attns.0.scale'] = (1, 1, dim)
                block['attns.0.positional_encoding'] = (1, grid**2, dim)
                block['attns.0.dwc.weight'] = (head_dim, 1, 5, 5)
                block['attns.0.dwc.bias'] = (head_dim,)
            branches = 2 if i == 2 else 1
            for b in range(branches):
                share = dim // branches
                block[f'attns.{b}.get_v.weight'] = (share, 1, 3, 3)
                block[f'attns.{b}.get_v.bias'] = (share,)
            for name, shape in block.items():
                layout[f'stage{i + 1}.{j}.{name}'] = shape
        if i < 3:
            layout[f'merge{i + 1}.conv.weight'] = (2 * dim, dim, 3, 3)
            layout[f'merge{i + 1}.conv.bias'] = (2 * dim,)
            layout[f'merge{i + 1}.norm.weight'] = (2 * dim,)
            layout[f'merge{i + 1}.norm.bias'] = (2 * dim,)
    return layout


@pytest.mark.parametrize(
    ('arch', 'img_size', 'depths', 'width', 'head_dim'),
    [
        ('t', 224, (2, 4, 18, 1), 64, 32),
        ('s', 224, (2, 4, 32, 2), 64, 32),
        ('b', 224, (3, 6, 29, 2), 96, 24),
        ('b', 384, (3, 6, 29, 2), 96, 24),
    ],
)
def test_names_and_shapes_are_the_authors(
    arch, img_size, depths, width, head_dim
):
    with torch.device('meta'):
        model = FLattenCSwin(arch, img_size=img_size, norm_outputs=False)
    layout = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    assert layout == official_layout(depths, width, head_dim, img_size)


def stripes_of(block):
    """Stripe and heads of each softmax branch of a block."""
    assert all(isinstance(b, StripeAttention) for b in block.attns)
    return [(b.stripe, b.num_heads) for b in block.attns]


@pytest.mark.parametrize(('img_size', 'split'), [(224, 7), (384, 12)])
def test_published_stripes(img_size, split):
    """Standing first, lying second; over the whole map in the last stage."""
    with torch.device('meta'):
        model = FLattenCSwin('t', 'SSSS', img_size=img_size)
    for i, width in enumerate((1, 2, split)):
        heads = 1 << i
        want = [((None, width), heads), ((width, None), heads)]
        for block in getattr(model, f'stage{i + 1}'):
            assert stripes_of(block) == want
    assert stripes_of(model.stage4[0]) == [((None, None), 16)]


@pytest.mark.parametrize('split', [14, 20])
def test_stripe_over_the_training_map_is_the_whole_map(split):
    with torch.device('meta'):
        model = FLattenCSwin('t', split_sizes=(1, 2, split, 7))
    assert stripes_of(model.stage3[0]) == [((None, None), 8)]


def test_mixed_stage():
    with torch.device('meta'):
        stage = FLattenCSwin('t', 'LLMS3').stage3
    for block in stage[:3]:
        (branch,) = block.attns
        assert isinstance(branch, FocusedLinearAttentionCSwin)
        assert (branch.dim, branch.num_heads) == (256, 8)
        assert (branch.grid_size, branch.tile_size) == ((14, 14), None)
    for block in stage[3:]:
        assert stripes_of(block) == [((None, 7), 4), ((7, None), 4)]


def conv_at(maps, weight, bias, row, column):
    """A depthwise convolution of ``(B, H, W, C)`` at one place, in words."""
    reach = weight.shape[-1] // 2
    out = bias
    for r, c in itertools.product(range(-reach, reach + 1), repeat=2):
        down, right = row + r, column + c
        if 0 <= down < maps.shape[1] and 0 <= right < maps.shape[2]:
            kernel = weight[:, 0, reach + r, reach + c]
            out = out + kernel * maps[:, down, right]
    return out


def softmax_stripe(q, k, v, heads, conv):
    """Attention and LePE inside one stripe, ``(B, h, w, C)`` each."""
    out = torch.empty_like(v)
    dim = v.shape[-1] // heads
    for r, c in itertools.product(*map(range, v.shape[1:3])):
        position = conv_at(v, conv.weight, conv.bias, r, c)
        for h in range(heads):
            at = slice(h * dim, (h + 1) * dim)
            logits = (k[..., at] * q[:, r : r + 1, c : c + 1, at]).sum(-1)
            shares = (logits / dim**0.5).flatten(1).softmax(1)
            mean = (shares[..., None] * v[..., at].flatten(1, 2)).sum(1)
            out[:, r, c, at] = mean + position[:, at]
    return out


@pytest.mark.parametrize('size', [(6, 9), (7, 5), (2, 4), (1, 1), (3, 8)])
def test_softmax_block_stripe_by_stripe(size):
    """Stripes of 3; the last of a map may be less, and sees no padding."""
    torch.manual_seed(0)
    split, heads, dim = 3, 4, 8
    stripes = [(None, split), (split, None)]
    branches = [StripeAttention(dim // 2, heads // 2, s) for s in stripes]
    block = CSwinBlock(dim, branches, 4.0, 0.0).double()
    height, width = size
    x = torch.randn(2, height * width, dim).double()
    q, k, v = (
        block.qkv(block.norm1(x)).view(2, height, width, 3, dim).unbind(3)
    )
    want, half = torch.empty_like(v), dim // 2
    for first in range(0, width, split):
        at = slice(first, first + split)
        share = (t[:, :, at, :half] for t in (q, k, v))
        want[:, :, at, :half] = softmax_stripe(
            *share, heads // 2, block.attns[0].get_v
        )
    for first in range(0, height, split):
        at = slice(first, first + split)
        share = (t[:, at, :, half:] for t in (q, k, v))
        want[:, at, :, half:] = softmax_stripe(
            *share, heads // 2, block.attns[1].get_v
        )
    want = x + block.proj(want.flatten(1, 2))
    hidden = F.gelu(block.mlp.fc1(block.norm2(want)))
    want = want + block.mlp.fc2(hidden)
    torch.testing.assert_close(block(x, size), want)


def test_whole_map_softmax_with_position():
    torch.manual_seed(0)
    branch = StripeAttention(6, 3, (None, None)).double()
    qkv = torch.randn(3, 2, 5, 4, 6).double()
    want = softmax_stripe(*qkv, 3, branch.get_v)
    out = branch(*qkv.flatten(2, 3), (5, 4))
    torch.testing.assert_close(out, want.flatten(1, 2))


def focused_branch(heads, dim, grid, **kwargs):
    """A branch of random weights, in float64."""
    torch.manual_seed(0)
    branch = FocusedLinearAttentionCSwin(dim, heads, grid, **kwargs).double()
    for parameter in (branch.scale, branch.positional_encoding):
        torch.nn.init.normal_(parameter)
    return branch


def test_focused_block_token_by_token():
    """All channels in one branch: attention, DWC and LePE of V, added."""
    heads, dim, (height, width) = 2, 8, (4, 5)
    branch = focused_branch(heads, dim, (height, width))
    block = CSwinBlock(dim, [branch], 4.0, 0.0).double()
    x = torch.randn(2, height * width, dim).double()
    q, k, v = block.qkv(block.norm1(x)).split(dim, -1)
    scale = (1 + branch.scale.exp()).log()

    def focus(tokens):
        tokens = (tokens.clamp(min=0) + 1e-6) / scale
        cubes = tokens**3
        length = (tokens**2).sum(-1, keepdim=True) ** 0.5
        return cubes / (cubes**2).sum(-1, keepdim=True) ** 0.5 * length

    q, k = focus(q), focus(k + branch.positional_encoding)
    maps, each = v.view(2, height, width, dim), dim // heads
    want = torch.empty_like(v)
    for i in range(height * width):
        place = divmod(i, width)
        lepe = conv_at(maps, branch.get_v.weight, branch.get_v.bias, *place)
        for h in range(heads):
            at = slice(h * each, (h + 1) * each)
            weights = (k[..., at] * q[:, i : i + 1, at]).sum(-1)
            share = weights / (
                weights.sum(1, keepdim=True) + height * width * 1e-6
            )
            attended = (share[..., None] * v[..., at]).sum(1)
            dwc = conv_at(
                maps[..., at], branch.dwc.weight, branch.dwc.bias, *place
            )
            want[:, i, at] = attended + dwc + lepe[:, at]
    want = x + block.proj(want)
    hidden = F.gelu(block.mlp.fc1(block.norm2(want)))
    want = want + block.mlp.fc2(hidden)
    torch.testing.assert_close(block(x, (height, width)), want)


def test_tiles_of_a_focused_block_do_not_see_each_other():
    tiled = focused_branch(2, 8, (4, 4), tile_size=(4, 4))
    whole = focused_branch(2, 8, (4, 4))
    maps = torch.randn(3, 2, 8, 12, 8).double()
    got = tiled(*maps.flatten(2, 3), (8, 12)).view(2, 8, 12, 8)
    for r, c in itertools.product((0, 4), (0, 4, 8)):
        tile = maps[:, :, r : r + 4, c : c + 4].flatten(2, 3)
        want = whole(*tile, (4, 4))
        torch.testing.assert_close(
            got[:, r : r + 4, c : c + 4].flatten(1, 2), want
        )


@pytest.mark.parametrize('size', [(8, 12), (9, 7), (1, 2), (1, 1)])
def test_stem_pads_to_whole_strides(size):
    torch.manual_seed(0)
    stem = ConvEmbed(3, 6).double()
    height, width = size
    x = torch.randn(2, 3, height, width).double()
    out, hw_shape = stem(x)
    assert tuple(hw_shape) == (-(-height // 4), -(-width // 4))
    padded = torch.zeros(2, 3, height + 11, width + 11).double()
    padded[:, :, 2 : height + 2, 2 : width + 2] = x
    for i, (r, c) in enumerate(itertools.product(*map(range, hw_shape))):
        patch = padded[:, :, 4 * r : 4 * r + 7, 4 * c : 4 * c + 7]
        want = torch.einsum('ochw,bchw->bo', stem['0'].weight, patch)
        want = F.layer_norm(want + stem['0'].bias, (6,))
        torch.testing.assert_close(out[:, i], want)


@pytest.mark.parametrize('size', [(4, 6), (5, 3), (1, 1)])
def test_merging_rounds_up(size):
    torch.manual_seed(0)
    merge = Merge(2, 3).double()
    height, width = size
    x = torch.randn(2, height * width, 2).double()
    out, hw_shape = merge(x, size)
    assert tuple(hw_shape) == (-(-height // 2), -(-width // 2))
    padded = torch.zeros(2, height + 2, width + 2, 2).double()
    padded[:, 1 : height + 1, 1 : width + 1] = x.view(2, height, width, 2)
    for i, (r, c) in enumerate(itertools.product(*map(range, hw_shape))):
        patch = padded[:, 2 * r : 2 * r + 3, 2 * c : 2 * c + 3]
        want = torch.einsum('ochw,bhwc->bo', merge.conv.weight, patch)
        want = F.layer_norm(want + merge.conv.bias, (3,))
        torch.testing.assert_close(out[:, i], want)


def test_initial_weights():
    torch.manual_seed(0)
    model = FLattenCSwin('n', img_size=128, split_sizes=(1, 2, 4, 4))
    model.init_weights()
    block = model.stage2[0]
    assert not block.attns[0].scale.any()
    assert not block.attns[0].positional_encoding.any()
    assert not block.qkv.bias.any()
    assert block.qkv.weight.std().item() == pytest.approx(0.02, rel=0.1)
    # PyTorch's own for convolutions, uniform in +-1 / sqrt(25) and 1 / 3.
    for conv, bound in (
        (block.attns[0].dwc, 0.2),
        (block.attns[0].get_v, 1 / 3),
    ):
        assert conv.weight.std().item() == pytest.approx(
            bound / 3**0.5, rel=0.1
        )
    assert (model.norm0.weight == 1).all()


@pytest.mark.parametrize(
    ('dims', 'heads'), [((64, 128, 255, 512), 3), ((64, 128, 254, 512), 8)]
)
def test_branches_share_heads_and_channels(dims, heads):
    arch = dict(dims=dims, depths=(1, 1, 1, 1), num_heads=(2, 4, heads, 16))
    with (
        torch.device('meta'),
        pytest.raises(ValueError, match=f'num_heads={heads} must divide'),
    ):
        FLattenCSwin(arch)


def test_stripes_need_not_tile_focused_stages():
    with torch.device('meta'):
        FLattenCSwin('t', 'LLLS', split_sizes=(5, 5, 5, 5))
