# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Small models of every FLatten family, for the tests of all of them."""

import torch

from ivit import backbones

# Stages narrow and shallow; maps of 24, 12, 6 and 3 cells in training.
SIZES = dict(dims=(8, 16, 24, 32), depths=(1, 2, 2, 1), num_heads=(2, 2, 2, 4))
PVT_SIZES = dict(SIZES, mlp_ratios=(2, 2, 2, 2))
TINY = {
    'FLattenSwin': dict(arch=SIZES, img_size=96, window_size=3),
    'FLattenPVT': dict(arch=PVT_SIZES, img_size=96),
    'FLattenPVTv2': dict(arch=PVT_SIZES, img_size=96),
    'FLattenCSwin': dict(arch=SIZES, img_size=96, split_sizes=(3, 3, 3, 3)),
}
# As in the configs for the embedded data, 128 pixels.
NANO = {
    'FLattenSwin': dict(arch='n', img_size=128, window_size=8),
    'FLattenPVT': dict(arch='n', img_size=128),
    'FLattenPVTv2': dict(arch='n', img_size=128),
    'FLattenCSwin': dict(arch='n', img_size=128, split_sizes=(1, 2, 8, 8)),
}
FAMILIES = list(TINY)
# The families with the windows or stripes of the Swin kind.
WINDOWED = [f for f in FAMILIES if f in ('FLattenSwin', 'FLattenCSwin')]
PYRAMIDS = [f for f in FAMILIES if f not in WINDOWED]
TYPES = [(f, t) for f in FAMILIES for t in ('LLLL', 'SSSS', 'LSLS')] + [
    (f, t) for f in WINDOWED for t in ('LLSS', 'LLMS1')
]
STRIDES = (4, 8, 16, 32)


def family_of(name):
    """The class."""
    return getattr(backbones, name)


def tiny(family, **kwargs):
    """A tiny float64 model in evaluation mode, no parameter at zero or one."""
    torch.manual_seed(0)
    model = family_of(family)(**{**TINY[family], **kwargs}).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model


def images(*size, batch=2, channels=3, seed=1):
    """Random float64 images."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, channels, *size)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def map_shapes(model, size, batch=2):
    """The shapes that the maps must have."""
    return [
        (batch, model.arch['dims'][i], *(-(-n // STRIDES[i]) for n in size))
        for i in model.out_indices
    ]
