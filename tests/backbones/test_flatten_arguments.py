# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What every FLatten family takes and what it refuses."""

import pytest
import torch
from flatten_cases import (
    FAMILIES,
    PYRAMIDS,
    TINY,
    WINDOWED,
    family_of,
    images,
    map_shapes,
    tiny,
)


@pytest.mark.parametrize('in_channels', [1, 4])
@pytest.mark.parametrize('family', FAMILIES)
def test_in_channels(family, in_channels):
    model = tiny(family, in_channels=in_channels)
    outs = model(images(40, 60, channels=in_channels))
    assert [out.shape for out in outs] == map_shapes(model, (40, 60))
    with pytest.raises(ValueError, match=rf'\(B, {in_channels}, H, W\)'):
        model(images(40, 60))


@pytest.mark.parametrize(
    'shape',
    [
        (1, 1, 32, 32),
        (1, 4, 32, 32),
        (3, 32, 32),
        (1, 2, 3, 32, 32),
        (1, 3, 0, 8),
    ],
)
@pytest.mark.parametrize('family', FAMILIES)
def test_bad_input(family, shape):
    model = tiny(family)
    with pytest.raises(ValueError, match=r'must be \(B, 3, H, W\)') as caught:
        model(torch.zeros(shape))
    assert str(shape) in str(caught.value)


BAD = [
    (dict(arch='xl'), "arch='xl' is unknown; .*'n'"),
    (dict(arch=['t']), r"arch=\['t'\] must be a name or a dict"),
    (dict(arch=dict(dims=(8,) * 4)), r"{'dims': .* with exactly the keys"),
    (dict(attn_type='LLXS'), "attn_type='LLXS'"),
    (dict(attn_type='LLS'), "attn_type='LLS'"),
    (dict(attn_type='LLLSS'), "attn_type='LLLSS'"),
    (dict(attn_type='llss'), "attn_type='llss'"),
    (dict(attn_type='LLMS'), "attn_type='LLMS'"),
    (dict(attn_type='LLSS2'), "attn_type='LLSS2'"),
    (
        dict(attn_type=('L', 'L', 'S', 'S')),
        r"attn_type=\('L', 'L', 'S', 'S'\)",
    ),
    (dict(attn_type=None), 'attn_type=None'),
    (dict(img_size=100), 'img_size=100 must be a positive multiple of 32'),
    (dict(img_size=0), 'img_size=0 '),
    (dict(img_size=96.0), 'img_size=96.0 '),
    (dict(img_size=(96, 96)), r'img_size=\(96, 96\) '),
    (dict(tile_size=7), 'tile_size=7 '),
    (dict(tile_size=0), 'tile_size=0 '),
    (dict(tile_size=16), 'img_size=96 leaves a tile .*tile_size=16'),
    (dict(in_channels=0), 'in_channels=0'),
    (dict(out_indices=()), r'out_indices=\(\)'),
    (dict(out_indices=(0, 4)), r'out_indices=\(0, 4\)'),
    (dict(out_indices=(2, 0)), r'out_indices=\(2, 0\) .* rising order'),
    (dict(out_indices=3), 'out_indices=3'),
    (dict(frozen_stages=5), 'frozen_stages=5'),
    (dict(frozen_stages=-2), 'frozen_stages=-2'),
    (dict(out_indices=(1,), frozen_stages=3), 'frozen_stages=3'),
    (dict(drop_path_rate=1.0), 'drop_path_rate=1.0'),
    (dict(drop_path_rate=-0.1), 'drop_path_rate=-0.1'),
    (dict(focusing_factor=0.5), 'focusing_factor=0.5'),
    (dict(focusing_factor=float('nan')), 'focusing_factor=nan'),
    (dict(kernel_size=4), 'kernel_size=4'),
    (dict(kernel_size=0), 'kernel_size=0'),
]
BAD_ARCH = [
    (dict(dims=8), r"'dims'\]=8 must be four integers"),
    (dict(depths=(1, 1, 1)), r"'depths'\]=\(1, 1, 1\) must be four"),
    (dict(depths=(1, 0, 1, 1)), r'\(1, 0, 1, 1\) .* at least 1'),
    (dict(width=3), "'width'"),
    (dict(num_heads=(2, 2, 2, 3)), 'num_heads=3 .*dim=32'),
]
BAD_OF_WINDOWED = [
    (dict(attn_type='LLMS9'), "attn_type='LLMS9' asks for 9 .* stage of 2"),
    (dict(mlp_ratio=-1), 'would have -8 hidden'),
    (dict(mlp_ratio=0), '8 channels would have 0 hidden .*mlp_ratio must'),
]
BAD_OF_SWIN = [
    (dict(window_size=0), 'window_size=0'),
    (dict(window_size=3.0), 'window_size=3.0'),
    (dict(window_size=5), 'img_size=96 .*window_size=5'),
]
BAD_OF_CSWIN = [
    (dict(split_sizes=7), 'split_sizes=7'),
    (dict(split_sizes=(1, 2, 7)), r'split_sizes=\(1, 2, 7\)'),
    (dict(split_sizes=(3, 3, 0, 3)), r'split_sizes=\(3, 3, 0, 3\)'),
    (dict(split_sizes=(3, 3, 4, 3)), r'img_size=96 .*split_sizes\[2\]=4'),
]


@pytest.mark.parametrize(
    ('family', 'kwargs', 'message'),
    [(family, *bad) for family in FAMILIES for bad in BAD]
    + [(family, *bad) for family in WINDOWED for bad in BAD_OF_WINDOWED]
    + [
        (family, dict(attn_type='LLMS1'), "attn_type='LLMS1'")
        for family in PYRAMIDS
    ]
    + [('FLattenSwin', *bad) for bad in BAD_OF_SWIN]
    + [('FLattenCSwin', *bad) for bad in BAD_OF_CSWIN],
)
def test_bad_arguments(family, kwargs, message):
    with pytest.raises(ValueError, match=message):
        family_of(family)(**{**TINY[family], **kwargs})


@pytest.mark.parametrize(('change', 'message'), BAD_ARCH)
@pytest.mark.parametrize('attn_type', ['LLLL', 'SSSS'])
@pytest.mark.parametrize('family', FAMILIES)
def test_bad_arch(family, attn_type, change, message):
    arch = {**TINY[family]['arch'], **change}
    with pytest.raises(ValueError, match=message):
        family_of(family)(
            **{**TINY[family], 'arch': arch, 'attn_type': attn_type}
        )
