# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Small models of every backbone, for the tests of all of them."""

import pytest
import torch

from ivit import backbones

# Stages narrow and shallow; maps of 24, 12, 6 and 3 cells in training.
SIZES = dict(dims=(8, 16, 24, 32), depths=(1, 2, 2, 1), num_heads=(2, 2, 2, 4))
PVT_SIZES = dict(SIZES, mlp_ratios=(2, 2, 2, 2))
# A plain transformer of four blocks, of which all maps are returned.
PLAIN = dict(
    arch=dict(dim=12, depth=4, num_heads=2),
    img_size=96,
    out_indices=(0, 1, 2, 3),
)
TINY = {
    'FLattenSwin': dict(arch=SIZES, img_size=96, window_size=3),
    'FLattenPVT': dict(arch=PVT_SIZES, img_size=96),
    'FLattenPVTv2': dict(arch=PVT_SIZES, img_size=96),
    'FLattenCSwin': dict(arch=SIZES, img_size=96, split_sizes=(3, 3, 3, 3)),
    'IViT': dict(arch=SIZES, landmarks=(3, 3)),
    'PlainViT': PLAIN,
    'FLattenDeiT': PLAIN,
}
# As in the configs for the embedded data, 128 pixels.
NANO = {
    'FLattenSwin': dict(arch='n', img_size=128, window_size=8),
    'FLattenPVT': dict(arch='n', img_size=128),
    'FLattenPVTv2': dict(arch='n', img_size=128),
    'FLattenCSwin': dict(arch='n', img_size=128, split_sizes=(1, 2, 8, 8)),
    'IViT': dict(arch='n'),
    'PlainViT': dict(arch='n', img_size=128),
    'FLattenDeiT': dict(arch='n', img_size=128),
}
ALL = list(TINY)
PLAINS = ['PlainViT', 'FLattenDeiT']
PYRAMIDS = [f for f in ALL if f not in PLAINS]
# The four pyramids of FLatten, whose attention is chosen by ``attn_type``.
FLATTEN = ['FLattenSwin', 'FLattenPVT', 'FLattenPVTv2', 'FLattenCSwin']
# Those with the windows or stripes of the Swin kind, and the others.
WINDOWED = ['FLattenSwin', 'FLattenCSwin']
PVTS = ['FLattenPVT', 'FLattenPVTv2']
# Those with an output norm for each map.
NORMED = [*WINDOWED, 'IViT']
TYPES = [(f, t) for f in FLATTEN for t in ('LLLL', 'SSSS', 'LSLS')] + [
    (f, t) for f in WINDOWED for t in ('LLSS', 'LLMS1')
]
# Every backbone with every kind of attention.
VARIANTS = {
    **{f'{f}-{kind}': (f, dict(attn_type=kind)) for f, kind in TYPES},
    'IViT': ('IViT', {}),
    'IViT-attention': ('IViT', dict(blocks=('attention',) * 4)),
    'IViT-undecomposed': ('IViT', dict(decomposed=False)),
    'PlainViT': ('PlainViT', {}),
    'PlainViT-interactive': ('PlainViT', dict(attention='interactive')),
    'FLattenDeiT': ('FLattenDeiT', {}),
}
STRIDES = (4, 8, 16, 32)


def family_of(name):
    """The class."""
    return getattr(backbones, name)


def variants(*types):
    """Parameters of tests; of FLatten's pyramids those types alone, if any."""
    return [
        pytest.param(*case, id=name)
        for name, case in VARIANTS.items()
        if not types or case[1].get('attn_type', types[0]) in types
    ]


def tiny(family, seed=0, **kwargs):
    """A tiny float64 model in evaluation mode, no parameter at zero or one."""
    torch.manual_seed(seed)
    model = family_of(family)(**{**TINY[family], **kwargs}).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model


def nano(family, **kwargs):
    """A small float32 model in training mode, with initial weights."""
    torch.manual_seed(0)
    model = family_of(family)(**{**NANO[family], **kwargs})
    model.init_weights()
    return model


def images(*size, batch=2, channels=3, seed=1):
    """Random float64 images."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, channels, *size)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def map_shapes(model, size, batch=2):
    """The shapes that the maps must have."""
    if type(model).__name__ in PLAINS:
        width = [model.arch['dim']] * model.arch['depth']
        strides = [16] * model.arch['depth']
    else:
        width, strides = model.arch['dims'], STRIDES
    return [
        (batch, width[i], *(-(-n // strides[i]) for n in size))
        for i in model.out_indices
    ]


def backward(model, x):
    """Gradients by name, of something that all maps go into."""
    model.zero_grad()
    sum((out**3).mean() for out in model(x)).float().backward()
    return {name: p.grad for name, p in model.named_parameters()}
