# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What the maps of the FLatten families must be."""

import itertools

import pytest
import torch
from backbone_cases import (
    FLATTEN,
    NANO,
    PVTS,
    TINY,
    TYPES,
    WINDOWED,
    family_of,
    images,
    map_shapes,
    tiny,
)
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import layer_norm
from torch.utils.flop_counter import FlopCounterMode

# Family, arch, image size, parameters and 1e9 multiply-adds with a classifier
# of 1000 classes: those of the authors' models, counted.
PUBLISHED = [
    ('FLattenSwin', 't', 224, 29_192_384, 4.483),
    ('FLattenSwin', 's', 224, 50_510_288, 8.734),
    ('FLattenSwin', 'b', 224, 88_972_488, 15.421),
    ('FLattenSwin', 'b', 384, 91_433_928, 46.382),
    ('FLattenPVT', 't', 224, 12_150_504, 2.037),
    ('FLattenPVT', 's', 224, 21_670_248, 4.030),
    ('FLattenPVT', 'm', 224, 37_242_216, 7.036),
    ('FLattenPVT', 'b', 224, 50_649_192, 10.380),
    ('FLattenPVTv2', 'b0', 224, 3_594_824, 0.580),
    ('FLattenPVTv2', 'b1', 224, 12_931_240, 2.219),
    ('FLattenPVTv2', 'b2', 224, 22_548_264, 4.251),
    ('FLattenPVTv2', 'b3', 224, 38_273_832, 7.284),
    ('FLattenPVTv2', 'b4', 224, 51_836_968, 10.677),
    ('FLattenPVTv2', 'b5', 224, 67_061_544, 12.436),
    ('FLattenCSwin', 't', 224, 21_201_768, 4.324),
    ('FLattenCSwin', 's', 224, 35_451_752, 6.783),
    ('FLattenCSwin', 'b', 224, 74_867_032, 14.913),
    ('FLattenCSwin', 'b', 384, 78_369_112, 46.305),
]


def on_meta(family, *args, **kwargs):
    with torch.device('meta'):
        return family_of(family)(*args, **kwargs).eval()


def count(model, size):
    """Multiply-adds of each operator, without computing anything."""
    # Softmax attention in its parts, so that its products are counted.
    with (
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        model(torch.empty(1, 3, *size, device='meta'))
    counts = counter.get_flop_counts()['Global']
    return {operator: flops / 2 for operator, flops in counts.items()}


def macs(model, size):
    return sum(count(model, size).values())


@pytest.mark.parametrize(
    ('family', 'arch', 'img_size', 'params', 'giga_macs'),
    [
        pytest.param(
            *row, marks=[pytest.mark.slow] * (row[1] not in ('t', 'b0'))
        )
        for row in PUBLISHED
    ],
)
def test_parameters_and_macs(family, arch, img_size, params, giga_macs):
    # With one output, norm3 is the final norm of the authors' Swin and CSwin.
    model = on_meta(family, arch, img_size=img_size, out_indices=(3,))
    dim = model.arch['dims'][3]
    if family == 'FLattenPVT':
        # The authors' final norm, which their forward pass does not use.
        params -= 2 * dim
    head = 1000 * (dim + 1)
    assert sum(p.numel() for p in model.parameters()) + head == params
    # Softmax alone is 1.2 % of Swin-T's, so it cannot be missing.
    counted = macs(model, (img_size, img_size)) + 1000 * dim
    assert counted / 1e9 == pytest.approx(giga_macs, rel=3e-3)


def test_softmax_attention_is_counted():
    model = on_meta('FLattenSwin', 't', attn_type='SSSS')
    products = count(model, (224, 224))[torch.ops.aten.bmm]
    # Blocks, tokens, channels, and the 49 tokens that each one sees.
    stages = ((2, 56, 96), (2, 28, 192), (6, 14, 384), (2, 7, 768))
    assert products == sum(2 * b * n * n * c * 49 for b, n, c in stages)


@pytest.mark.parametrize('family', WINDOWED)
@pytest.mark.parametrize('arch', ['t', 's'])
def test_unpublished_at_384(family, arch):
    model = on_meta(family, arch, img_size=384)
    outs = model(torch.empty(2, 3, 384, 384, device='meta'))
    assert [o.shape for o in outs] == map_shapes(model, (384, 384))


@pytest.mark.parametrize('family', FLATTEN)
def test_nano_is_about_a_million(family):
    model = on_meta(family, **NANO[family])
    assert 0.5e6 < sum(p.numel() for p in model.parameters()) < 1.5e6


@pytest.mark.slow
@pytest.mark.parametrize('family', FLATTEN)
@pytest.mark.parametrize('tile_size', [None, 8])
def test_focused_stages_are_linear_in_pixels(family, tile_size):
    model = on_meta(
        family,
        arch='n',
        attn_type='LLLL',
        img_size=128,
        tile_size=tile_size,
    )
    small, large = (macs(model, size) for size in ((256, 384), (512, 768)))
    assert large == 4 * small


@pytest.mark.parametrize('family', FLATTEN)
def test_default_windows_at_all_sizes(family):
    """Nothing but the size is needed at the published ones."""
    for img_size in (224, 384):
        with torch.device('meta'):
            model = family_of(family)('n', img_size=img_size)
            outs = model(torch.empty(1, 3, img_size, img_size))
        size = (img_size, img_size)
        assert [o.shape for o in outs] == map_shapes(model, size, batch=1)


@pytest.mark.parametrize('family', WINDOWED)
def test_output_norms(family):
    model, raw = tiny(family), tiny(family, norm_outputs=False)
    state = model.state_dict()
    raw.load_state_dict({k: state[k] for k in raw.state_dict()})
    assert len(state) - len(raw.state_dict()) == 8
    x = images(50, 60)
    with torch.no_grad():
        for i, (out, want) in enumerate(zip(model(x), raw(x), strict=True)):
            want = layer_norm(
                want.permute(0, 2, 3, 1),
                want.shape[1:2],
                state[f'norm{i}.weight'],
                state[f'norm{i}.bias'],
            )
            torch.testing.assert_close(out, want.permute(0, 3, 1, 2))


def without_context(model):
    """Take from a model what makes a cell depend on its neighbours."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and any(module.padding):
                module.weight.zero_()
        for name, parameter in model.named_parameters():
            if name.startswith('pos_embed'):
                parameter.zero_()
    return model


@pytest.mark.parametrize(
    ('family', 'attn_type', 'tile_size', 'out_indices', 'size'),
    [
        (*case, tile_size, *rest)
        for case in TYPES
        for tile_size in (None, 8)
        for rest in (((0,), (20, 44)), ((0, 1, 2, 3), (32, 160)))
        # Padding in the first convolution of a cell of 8 x 8 tokens.
        if not (case[0] in PVTS and case[1][0] == 'S' and rest[0] == (0,))
    ],
)
def test_equal_tokens_stay_equal(
    family, attn_type, tile_size, out_indices, size
):
    """Any average of equal values is that value, but not with padding in it.

    Windows, stripes and tiles leave none of these maps unpadded, tables and
    biases are random.
    """
    model = without_context(
        tiny(
            family,
            attn_type=attn_type,
            tile_size=tile_size,
            focusing_factor=1,
            out_indices=out_indices,
        )
    )
    color = images(1, 1, batch=1)
    with torch.no_grad():
        # Queries and keys so large that the 1e-6 in the normaliser is nothing,
        # even in a head that is negative throughout.
        for name, parameter in model.named_parameters():
            if name.endswith('.scale'):
                parameter.fill_(-20)
        outs = model(color.expand(1, 3, *size))
        expected = model(color.expand(1, 3, 96, 96))
    for out, want in zip(outs, expected, strict=True):
        value = want[:, :, :1, :1]
        assert value.std() > 0.1
        close = dict(rtol=1e-7, atol=1e-7)
        torch.testing.assert_close(want, value.expand_as(want), **close)
        torch.testing.assert_close(out, value.expand_as(out), **close)


def transposed(family, model):
    """The model of which everything lies across, from its state."""
    state = {}
    for name, value in model.state_dict().items():
        if value.dim() == 4:  # a convolution
            value = value.transpose(2, 3)
        elif name.endswith('relative_position_bias_table'):
            value = transposed_table(value[None])[0]
        elif 'positional_encoding' in name or name.startswith('pos_embed'):
            value = transposed_table(value)
        elif family == 'FLattenSwin' and '.downsample.' in name:
            # The four neighbours, of which the second and third change place.
            value = value.unflatten(-1, (4, -1))
            value = value[..., [0, 2, 1, 3], :].flatten(-2)
        elif family == 'FLattenCSwin' and is_split(model, name):
            # The stripes of the first half of the channels go across.
            if '.qkv.' in name:
                value = value.unflatten(0, (3, 2, -1)).flip(1).flatten(0, 2)
            elif name.endswith('.proj.weight'):
                value = value.unflatten(1, (2, -1)).flip(1).flatten(1)
        state[name] = value.contiguous()
    for name in list(state):
        if '.attns.1.' in name:
            first = name.replace('.attns.1.', '.attns.0.')
            state[name], state[first] = state[first], state[name]
    return state


def transposed_table(table):
    side = round(table.shape[1] ** 0.5)
    table = table.unflatten(1, (side, side))
    return table.transpose(1, 2).flatten(1, 2)


def is_split(model, name):
    """Whether a parameter belongs to a block of stripes up and across."""
    block = name.split('.')[:2]
    return any(
        n.startswith('.'.join(block) + '.attns.1.') for n in model.state_dict()
    )


@pytest.mark.parametrize(('family', 'attn_type'), TYPES)
@pytest.mark.parametrize('size', [(96, 96), (50, 75), (3, 131)])
def test_transposed_image_through_transposed_model(family, attn_type, size):
    """Height and width are nowhere taken for each other."""
    model = tiny(family, attn_type=attn_type)
    other = tiny(family, attn_type=attn_type)
    other.load_state_dict(transposed(family, model))
    x = images(*size)
    with torch.no_grad():
        outs, others = model(x), other(x.transpose(2, 3))
    for out, across in zip(outs, others, strict=True):
        torch.testing.assert_close(out, across.transpose(2, 3))
        assert (out[0].std((1, 2)) > 1e-3).any() or out[0, 0].numel() == 1


@pytest.mark.parametrize(
    ('family', 'attn_type'),
    itertools.product(('FLattenSwin', 'FLattenPVT'), ('LLLL', 'SSSS', 'LSLS')),
)
def test_moved_image_moves_the_maps(family, attn_type):
    """By 96 pixels, a window of the last stage, without tables or borders."""
    model = tiny(
        family,
        attn_type=attn_type,
        # No block whose windows are shifted: those do not go round.
        arch={**TINY[family]['arch'], 'depths': (1, 1, 1, 1)},
    )
    model = without_context(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith('positional_encoding'):
                parameter.zero_()
    x = images(96, 192)
    with torch.no_grad():
        outs, moved = model(x), model(x.roll(96, 3))
    for out, other, stride in zip(outs, moved, (4, 8, 16, 32), strict=True):
        torch.testing.assert_close(out.roll(96 // stride, 3), other)
        assert not torch.allclose(out, other)


@pytest.mark.parametrize('family', FLATTEN)
@pytest.mark.parametrize('tile_size', [None, 8])
def test_tiles_bound_what_a_cell_sees(family, tile_size):
    """And without tiles, every cell of a focused stage sees everything."""
    model = tiny(
        family, attn_type='LLLL', out_indices=(0,), tile_size=tile_size
    )
    x = images(40, 108)
    changed = x.clone()
    changed[..., 104:] += 1  # the last of 27 columns, in the fourth tile
    with torch.no_grad():
        (out,), (other,) = model(x), model(changed)
    sees = out.ne(other).any(1)
    if tile_size:
        assert sees[:, :8, 24:].all()  # its tile, but for convolutions
        assert not sees[..., :22].any()
    else:
        assert sees.all()
