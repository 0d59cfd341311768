# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What FLatten-PVT and PVTv2 alone have."""

import math

import pytest
import torch
from torch import nn

from ivit.attention import (
    FocusedLinearAttentionPVT,
    SpatialReductionAttention,
)
from ivit.backbones import FLattenPVT, FLattenPVTv2

FAMILIES = [FLattenPVT, FLattenPVTv2]
TINY = dict(
    dims=(8, 12, 16, 20),
    depths=(1, 2, 1, 1),
    num_heads=(1, 2, 2, 4),
    mlp_ratios=(2, 3, 2, 1),
)
WIDE = (64, 128, 320, 512)


def official_layout(version, dims, depths, ratios, attn_type, img_size):
    """Names and shapes of the authors' files, without norm and head."""
    layout = {}

    def add(name, *shape):
        layout[f'{name}.weight'] = shape
        layout[f'{name}.bias'] = shape[:1]

    heads, reductions = (1, 2, 5, 8), (8, 4, 2, 1)
    for i, (dim, depth) in enumerate(zip(dims, depths, strict=True)):
        tokens = (img_size // 4 >> i) ** 2
        kernel = ((4, 2), (7, 3))[version - 1][i > 0]
        add(
            f'patch_embed{i + 1}.proj',
            dim,
            dims[i - 1] if i else 3,
            kernel,
            kernel,
        )
        add(f'patch_embed{i + 1}.norm', dim)
        if version == 1:
            layout[f'pos_embed{i + 1}'] = (1, tokens, dim)
        else:
            add(f'norm{i + 1}', dim)
        for j in range(depth):
            block, hidden = f'block{i + 1}.{j}', ratios[i] * dim
            add(f'{block}.norm1', dim)
            add(f'{block}.norm2', dim)
            add(f'{block}.attn.q', dim, dim)
            add(f'{block}.attn.kv', 2 * dim, dim)
            add(f'{block}.attn.proj', dim, dim)
            add(f'{block}.mlp.fc1', hidden, dim)
            add(f'{block}.mlp.fc2', dim, hidden)
            if version == 2:
                add(f'{block}.mlp.dwconv.dwconv', hidden, 1, 3, 3)
            if attn_type[i] == 'L':
                add(f'{block}.attn.dwc', dim // heads[i], 1, 5, 5)
                layout[f'{block}.attn.scale'] = (1, 1, dim)
                layout[f'{block}.attn.positional_encoding'] = (1, tokens, dim)
            elif reductions[i] > 1:
                add(f'{block}.attn.sr', dim, dim, *(reductions[i],) * 2)
                add(f'{block}.attn.norm', dim)
    return layout


@pytest.mark.parametrize(
    ('version', 'arch', 'dims', 'depths', 'ratios'),
    [
        (1, 't', WIDE, (2, 2, 2, 2), (8, 8, 4, 4)),
        (1, 's', WIDE, (3, 4, 6, 3), (8, 8, 4, 4)),
        (1, 'm', WIDE, (3, 4, 18, 3), (8, 8, 4, 4)),
        (1, 'b', WIDE, (3, 8, 27, 3), (8, 8, 4, 4)),
        (2, 'b0', (32, 64, 160, 256), (2, 2, 2, 2), (8, 8, 4, 4)),
        (2, 'b1', WIDE, (2, 2, 2, 2), (8, 8, 4, 4)),
        (2, 'b2', WIDE, (3, 4, 6, 3), (8, 8, 4, 4)),
        (2, 'b3', WIDE, (3, 4, 18, 3), (8, 8, 4, 4)),
        (2, 'b4', WIDE, (3, 8, 27, 3), (8, 8, 4, 4)),
        (2, 'b5', WIDE, (3, 6, 40, 3), (4, 4, 4, 4)),
    ],
)
@pytest.mark.parametrize(
    ('attn_type', 'img_size'), [('LLLL', 224), ('SLSS', 384)]
)
def test_names_and_shapes_are_the_authors(
    version, arch, dims, depths, ratios, attn_type, img_size
):
    with torch.device('meta'):
        model = FAMILIES[version - 1](
            arch, attn_type=attn_type, img_size=img_size
        )
    layout = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    assert layout == official_layout(
        version, dims, depths, ratios, attn_type, img_size
    )


@pytest.mark.parametrize('family', FAMILIES)
def test_epsilons_are_the_authors(family):
    """1e-5 in embeddings and reductions, 1e-6 elsewhere."""
    model = family(TINY, attn_type='LSLS', img_size=64)
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm):
            small = not name.startswith('patch_embed') and 'attn' not in name
            assert module.eps == (1e-6 if small else 1e-5), name


@pytest.mark.parametrize('family', FAMILIES)
def test_mixed_attention(family):
    model = family(TINY, attn_type='LSLS', img_size=64)
    kinds = [
        [type(block.attn) for block in model.get_submodule(f'block{i}')]
        for i in (1, 2, 3, 4)
    ]
    focused, softmax = FocusedLinearAttentionPVT, SpatialReductionAttention
    assert kinds == [[focused], [softmax] * 2, [focused], [softmax]]
    model = family(TINY, attn_type='SSSS', img_size=64)
    strides = [
        model.get_submodule(f'block{i}')[0].attn.sr.stride for i in (1, 2, 3)
    ]
    assert strides == [(8, 8), (4, 4), (2, 2)]
    assert model.block4[0].attn.sr is None


@pytest.mark.parametrize('attn_type', ['LLLL', 'SSSS'])
def test_wrong_arguments(attn_type):
    kwargs = dict(attn_type=attn_type, img_size=64)
    with pytest.raises(ValueError, match="arch='b0'.*'m'.*'t'"):
        FLattenPVT('b0', **kwargs)
    with pytest.raises(ValueError, match="arch='t'.*'b5'"):
        FLattenPVTv2('t', **kwargs)
    with pytest.raises(ValueError, match=r"arch\['mlp_ratios'\]=\(0, "):
        FLattenPVT({**TINY, 'mlp_ratios': (0, 1, 1, 1)}, **kwargs)
    with pytest.raises(ValueError, match='mlp_ratios'):
        FLattenPVT({k: TINY[k] for k in ('dims', 'depths', 'num_heads')})


def plain_reduction(attn, x, size, ratio):
    """Means of cells weighted by the convolution, one cell at a time."""
    height, width = size
    maps = x.view(len(x), height, width, -1)
    cells = []
    for top in range(0, height, ratio):
        for left in range(0, width, ratio):
            cell = attn.sr.bias.expand(len(x), -1)
            for r in range(top, min(top + ratio, height)):
                for c in range(left, min(left + ratio, width)):
                    weight = attn.sr.weight[:, :, r - top, c - left]
                    cell = cell + maps[:, r, c] @ weight.T
            mean = cell.mean(-1, keepdim=True)
            var = (cell - mean).square().mean(-1, keepdim=True)
            cell = (cell - mean) / (var + 1e-5).sqrt()
            cells.append(cell * attn.norm.weight + attn.norm.bias)
    return torch.stack(cells, 1)


@pytest.mark.parametrize('ratio', [1, 2, 4, 8])
@pytest.mark.parametrize(
    'size', [(8, 16), (9, 7), (5, 12), (3, 2), (1, 1), (1, 9)]
)
def test_softmax_attention(ratio, size):
    """softmax(Q K^T / sqrt(d)) V, K and V of cells that cover the map."""
    torch.manual_seed(0)
    dim, heads = 6, 2
    attn = SpatialReductionAttention(dim, heads, ratio).double()
    for parameter in attn.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, math.prod(size), dim).double()
    cells = plain_reduction(attn, x, size, ratio) if ratio > 1 else x
    query = x @ attn.q.weight.T + attn.q.bias
    both = cells @ attn.kv.weight.T + attn.kv.bias
    want = torch.empty_like(query)
    for head in range(heads):
        own = slice(head * 3, head * 3 + 3)
        key, value = both[..., :dim][..., own], both[..., dim:][..., own]
        logits = query[..., own] @ key.transpose(1, 2) / 3**0.5
        weights = logits.exp() / logits.exp().sum(-1, keepdim=True)
        want[..., own] = weights @ value
    want = want @ attn.proj.weight.T + attn.proj.bias
    torch.testing.assert_close(attn(x, size), want)


def cubic_weights(n, m):
    """Interpolation from n to m points, ``(m, n)``; Keys' a = -0.75."""
    weights = torch.zeros(m, n).double()
    for i in range(m):
        at = (i + 0.5) * n / m - 0.5
        for j in range(math.floor(at) - 1, math.floor(at) + 3):
            t = abs(at - j)
            if t <= 1:
                w = 1.25 * t**3 - 2.25 * t**2 + 1
            else:
                w = -0.75 * (t**3 - 5 * t**2 + 8 * t - 4)
            weights[i, min(max(j, 0), n - 1)] += w
    return weights


def identity_blocks(model):
    """Let blocks return what they get."""
    for name, parameter in model.named_parameters():
        if '.attn.proj.' in name or '.mlp.fc2.' in name:
            nn.init.zeros_(parameter)
    return model


@pytest.mark.parametrize(
    'size',
    [
        (64, 64),
        # The second map has as many tokens as the first one in training.
        (128, 128),
        # As many tokens as in training, in another shape.
        (32, 128),
        (90, 35),
        (1, 1),
    ],
)
@pytest.mark.parametrize('mode', [torch.enable_grad, torch.no_grad])
def test_position_tables_are_interpolated(size, mode):
    """Each to its stage's map; trained on 16, 8, 4 and 2 cells a side."""
    torch.manual_seed(0)
    model = identity_blocks(FLattenPVT(TINY, img_size=64)).double().eval()
    for i in (1, 2, 3, 4):
        nn.init.zeros_(model.get_submodule(f'patch_embed{i}.norm').weight)
        nn.init.normal_(model.get_parameter(f'pos_embed{i}'))
    with mode():
        outs = model(torch.randn(1, 3, *size).double())
    for i, out in enumerate(outs):
        side = 16 >> i
        table = model.get_parameter(f'pos_embed{i + 1}')[0].T
        table = table.reshape(-1, side, side)
        height, width = (-(-n // (4 << i)) for n in size)
        if (height, width) == (side, side):
            assert torch.equal(out[0], table)
        down, right = cubic_weights(side, height), cubic_weights(side, width)
        torch.testing.assert_close(out[0], down @ table @ right.T)


@pytest.mark.parametrize('family', FAMILIES)
def test_norm_after_stages(family):
    """PVTv2 has one, whose output is the map and goes on; PVT has none."""
    torch.manual_seed(0)
    model = family(TINY, img_size=64).double().eval()
    last, entering = [], []
    for i in (1, 2, 3, 4):
        block = model.get_submodule(f'block{i}')[-1]
        block.register_forward_hook(lambda _, __, out: last.append(out))
        embed = model.get_submodule(f'patch_embed{i}')
        embed.register_forward_pre_hook(lambda _, x: entering.append(x[0]))
    with torch.no_grad():
        outs = model(torch.randn(2, 3, 64, 64).double())
        for i, (x, out) in enumerate(zip(last, outs, strict=True), 1):
            if family is FLattenPVTv2:
                norm = model.get_submodule(f'norm{i}')
                mean = x.mean(-1, keepdim=True)
                var = (x - mean).square().mean(-1, keepdim=True)
                x = (x - mean) / (var + 1e-6).sqrt() * norm.weight + norm.bias
            want = x.transpose(1, 2).view_as(out)
            torch.testing.assert_close(out, want)
    for out, x in zip(outs[:3], entering[1:], strict=True):
        assert torch.equal(out, x)


# The standard deviations of convolutions: PyTorch's own in PVT, uniform in
# +-1 / sqrt(fan_in); sqrt(2 / fan_out) in PVTv2, of one group where depthwise.
CONVS = {
    FLattenPVT: {
        'patch_embed1.proj': (3 * 3 * 4 * 4) ** -0.5,
        'patch_embed2.proj': (3 * 64 * 2 * 2) ** -0.5,
        'block1.0.attn.sr': (3 * 64 * 8 * 8) ** -0.5,
        'block3.0.attn.dwc': (3 * 5 * 5) ** -0.5,
    },
    FLattenPVTv2: {
        'patch_embed1.proj': (2 / (64 * 7 * 7)) ** 0.5,
        'patch_embed2.proj': (2 / (128 * 3 * 3)) ** 0.5,
        'block1.0.attn.sr': (2 / (64 * 8 * 8)) ** 0.5,
        'block3.0.attn.dwc': 0.283,
        'block3.0.mlp.dwconv.dwconv': (2 / (3 * 3)) ** 0.5,
    },
}


@pytest.mark.parametrize(
    ('family', 'arch'), [(FLattenPVT, 't'), (FLattenPVTv2, 'b1')]
)
def test_initial_weights(family, arch):
    torch.manual_seed(0)
    model = family(arch, attn_type='SLLL')
    model.init_weights()
    stds = dict(CONVS[family])
    for name in ('attn.q', 'attn.kv', 'attn.proj', 'mlp.fc1', 'mlp.fc2'):
        stds[f'block3.0.{name}'] = 0.02
    for name, std in stds.items():
        module = model.get_submodule(name)
        assert module.weight.std().item() == pytest.approx(std, rel=0.1), name
        if family is FLattenPVTv2 or isinstance(module, nn.Linear):
            assert not module.bias.any(), name
    for name, parameter in model.named_parameters():
        if name.startswith('pos_embed'):
            assert parameter.std().item() == pytest.approx(0.02, rel=0.1)
        if name.endswith(('attn.scale', 'positional_encoding')):
            assert not parameter.any(), name
        if 'norm' in name:
            value = 1 if name.endswith('weight') else 0
            assert (parameter == value).all(), name
