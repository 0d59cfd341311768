# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Small backbones, and files as the authors of FLatten write them."""

import pytest
import torch
from torch import nn
from yacs.config import CfgNode

from ivit import backbones

SIZES = dict(dims=(8, 16, 24, 32), depths=(1, 2, 2, 1), num_heads=(2, 2, 2, 4))
PVT_SIZES = dict(SIZES, mlp_ratios=(2, 2, 2, 2))
FAMILIES = {
    'FLattenSwin': dict(arch=SIZES, img_size=96, window_size=3),
    'FLattenPVT': dict(arch=PVT_SIZES, img_size=96),
    'FLattenPVTv2': dict(arch=PVT_SIZES, img_size=96),
    'FLattenCSwin': dict(arch=SIZES, img_size=96, split_sizes=(3, 3, 3, 3)),
}
OUTPUT_NORMS = ('FLattenSwin', 'FLattenCSwin')
every_family = pytest.mark.parametrize('family', FAMILIES)


def build(family, **kwargs):
    return getattr(backbones, family)(**{**FAMILIES[family], **kwargs})


def authors(family, seed=0, **kwargs):
    """The content of a file of the authors: random weights, a classifier."""
    bare = dict(norm_outputs=False) if family in OUTPUT_NORMS else {}
    state = build(family, **bare, **kwargs).state_dict()
    state.update(
        {
            'norm.weight': torch.zeros(32),
            'norm.bias': torch.zeros(32),
            'head.weight': torch.zeros(5, 32),
            'head.bias': torch.zeros(5),
        }
    )
    if family == 'FLattenPVTv2':
        del state['norm.weight'], state['norm.bias']
    if family == 'FLattenSwin':
        block = 'layers.2.blocks.1.'
        state[f'{block}attn_mask'] = torch.zeros(4, 9, 9)
        index = torch.zeros(9, 9, dtype=torch.long)
        state[f'{block}attn.relative_position_index'] = index
    generator = torch.Generator().manual_seed(seed)
    for name, value in state.items():
        if value.is_floating_point():
            state[name] = torch.randn(value.shape, generator=generator)
    config = CfgNode(dict(MODEL=dict(TYPE=family)))
    config.freeze()
    return dict(
        model=dict(state),
        optimizer=dict(state={}, param_groups=[dict(lr=1e-3)]),
        lr_scheduler={},
        max_accuracy=82.1,
        epoch=299,
        config=config,
    )


def is_loaded(backbone, weights):
    """Whether all that ``weights`` has for the backbone is in it."""
    own = backbone.state_dict()
    common = [name for name in own if name in weights]
    new = [name for name in own if name not in weights]
    assert all(name.startswith('norm') for name in new), new
    return all(torch.equal(own[name], weights[name]) for name in common)


class Detector(nn.Module):
    def __init__(self, family, **kwargs):
        super().__init__()
        self.backbone = build(family, **kwargs)
        self.neck = nn.Linear(32, 2)
