# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What the FLatten families refuse, and no other backbone knows."""

import pytest
from backbone_cases import FLATTEN, PVTS, TINY, WINDOWED, family_of

BAD = [
    (dict(attn_type='LLXS'), "attn_type='LLXS'"),
    (dict(attn_type='LLS'), "attn_type='LLS'"),
    (dict(attn_type='LLLSS'), "attn_type='LLLSS'"),
    (dict(attn_type='llss'), "attn_type='llss'"),
    (dict(attn_type='LLMS'), "attn_type='LLMS'"),
    (dict(attn_type='LLSS2'), "attn_type='LLSS2'"),
    (dict(attn_type='LLM3S'), "attn_type='LLM3S'"),
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
    (dict(focusing_factor=0.5), 'focusing_factor=0.5'),
    (dict(focusing_factor=float('nan')), 'focusing_factor=nan'),
    (dict(kernel_size=4), 'kernel_size=4'),
    (dict(kernel_size=0), 'kernel_size=0'),
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
    (
        dict(split_sizes=None, img_size=256),
        r'img_size=256 .*split_sizes\[2\]=7',
    ),
]


@pytest.mark.parametrize(
    ('family', 'kwargs', 'message'),
    [(family, *bad) for family in FLATTEN for bad in BAD]
    + [(family, *bad) for family in WINDOWED for bad in BAD_OF_WINDOWED]
    + [
        (family, dict(attn_type='LLMS1'), "attn_type='LLMS1'")
        for family in PVTS
    ]
    + [('FLattenSwin', *bad) for bad in BAD_OF_SWIN]
    + [('FLattenCSwin', *bad) for bad in BAD_OF_CSWIN],
)
def test_bad_arguments(family, kwargs, message):
    with pytest.raises(ValueError, match=message):
        family_of(family)(**{**TINY[family], **kwargs})
