# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What ``frozen_stages`` freezes stays as it is through training."""

import re

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ivit import backbones

SIZES = dict(dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), num_heads=(2, 2, 2, 4))
MLPS = dict(SIZES, mlp_ratios=(2, 2, 2, 2))
BACKBONES = {
    'IViT': dict(arch=SIZES),
    'FLattenSwin': dict(arch=SIZES, img_size=96, window_size=3),
    'FLattenPVT': dict(arch=MLPS, img_size=96),
    'FLattenPVTv2': dict(arch=MLPS, img_size=96),
    'FLattenCSwin': dict(arch=SIZES, img_size=96, split_sizes=(3, 3, 3, 3)),
    'PlainViT': dict(arch=dict(dim=8, depth=4, num_heads=2), img_size=96),
    'FLattenDeiT': dict(arch=dict(dim=8, depth=4, num_heads=2), img_size=96),
}
FROZEN = 2
LAYERS = 1 + FROZEN  # by get_layer_depth, with one block in each stage


class Detector(nn.Module):
    """A backbone and a head on each of its maps."""

    def __init__(self, name):
        super().__init__()
        self.backbone = getattr(backbones, name)(
            frozen_stages=FROZEN, out_indices=(0, 1, 2, 3), **BACKBONES[name]
        )
        self.heads = nn.ModuleList(nn.LazyConv2d(1, 1) for _ in range(4))

    def forward(self, x):
        maps = self.backbone(x)
        pairs = zip(self.heads, maps, strict=True)
        return sum(head(x).square().mean() for head, x in pairs)


@pytest.fixture
def alone(tmp_path):
    """A process group of this process."""
    dist.init_process_group(
        'gloo', f'file://{tmp_path}/store', rank=0, world_size=1
    )
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize('constructor', ['Default', 'LayerDecay', 'NoDecay'])
@pytest.mark.parametrize('name', BACKBONES)
def test_nothing_frozen_changes(name, constructor, alone):
    torch.manual_seed(0)
    model = Detector(name).train()
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        model.eval()(images)  # the heads take their widths
    rules = dict(layer_decay_rate=0.9) if constructor == 'LayerDecay' else {}
    wrapper = build_optim_wrapper(
        model,
        dict(
            optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.5),
            constructor=f'{constructor}OptimWrapperConstructor',
            paramwise_cfg=rules,
        ),
    )
    before = {n: v.clone() for n, v in model.state_dict().items()}
    # The second step raises if something trained had no part in the first.
    distributed = DistributedDataParallel(model).train()
    for _ in range(2):
        wrapper.zero_grad()
        distributed(images).backward()
        wrapper.step()
    changed = {
        key.removeprefix('backbone.')
        for key, value in model.state_dict().items()
        if not torch.equal(value, before[key])
    }
    frozen = set()
    for key, parameter in model.backbone.named_parameters():
        depth, _ = model.backbone.get_layer_depth(key)
        # Swin's downsampling belongs to the stage in front of it.
        if depth < LAYERS or key.startswith('layers.1.downsample.'):
            frozen.add(key)
        assert (parameter.grad is None) == (key in frozen), key
        assert (key in changed) == (key not in frozen), key
    assert frozen
    # The statistics of iViT's batch norms.
    for key, _ in model.backbone.named_buffers():
        if re.search('running|num_batches', key):
            depth, _ = model.backbone.get_layer_depth(key)
            assert (key in changed) == (depth >= LAYERS), key
