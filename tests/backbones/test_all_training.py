# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What holds for the training of every backbone."""

import copy

import pytest
import torch
from backbone_cases import (
    ALL,
    NORMED,
    PLAINS,
    PVTS,
    SIZES,
    TINY,
    WINDOWED,
    backward,
    family_of,
    images,
    map_shapes,
    nano,
    tiny,
    variants,
)
from mmcv.cnn.bricks import DropPath

DEPTHS = SIZES['depths']
LAST = sum(DEPTHS) + 1


@pytest.mark.parametrize(
    'out_indices', [(0, 1, 2, 3), (0,), (1, 2, 3), (3,), (0, 2)]
)
@pytest.mark.parametrize('family', ALL)
def test_every_parameter_gets_a_gradient(family, out_indices):
    model = nano(family, out_indices=out_indices)
    x = images(64, 96).float()
    for name, grad in backward(model, x).items():
        assert grad is not None, name
        assert grad.isfinite().all(), name
        assert grad.abs().max() > 0, name
    assert [out.shape for out in model(x)] == map_shapes(model, (64, 96))


@pytest.mark.parametrize(('family', 'options'), variants())
def test_every_parameter_gets_a_gradient_whatever_the_attention(
    family, options
):
    model = tiny(family, **options)
    for name, grad in backward(model, images(70, 101)).items():
        assert grad is not None and grad.abs().max() > 0, name


@pytest.mark.parametrize('frozen_stages', [-1, 0, 1, 2, 3, 4])
@pytest.mark.parametrize('family', ALL)
def test_frozen_stages(family, frozen_stages):
    kwargs = dict(norm_outputs=False) if family in WINDOWED else {}
    model = tiny(
        family, frozen_stages=frozen_stages, drop_path_rate=0.9, **kwargs
    )
    depths = (1, 1, 1, 1) if family in PLAINS else DEPTHS
    x = images(64, 64)
    # Frozen from the start, as DDP and optimizers look before train() is
    # called, and set again by it.
    for again in (False, True):
        if again:
            model.requires_grad_(True)
            model.eval()
        assert model.train() is model
        for name, parameter in model.named_parameters():
            depth, _ = model.get_layer_depth(name)
            frozen = depth <= sum(depths[: max(frozen_stages, 0)])
            if name.startswith(f'layers.{frozen_stages - 1}.downsample.'):
                frozen = True  # Swin's belongs to the stage before it
            frozen = frozen and frozen_stages >= 0
            assert parameter.requires_grad != frozen, name
            module = model.get_submodule(name.rpartition('.')[0])
            assert name.startswith('pos_embed') or module.training != frozen
    fixed = {
        name: value.clone()
        for name, value in model.named_buffers()
        if not model.get_submodule(name.rpartition('.')[0]).training
    }
    outs, others = model(x), model(x)
    for i, (out, other) in enumerate(zip(outs, others, strict=True)):
        normed = family == 'IViT' or (family in PLAINS and i == 3)
        assert out.requires_grad == (i >= frozen_stages or normed)
        # Nothing is dropped in a frozen stage.
        assert i >= frozen_stages or torch.equal(out, other)
    # Nor do its batch norms learn.
    for name, value in fixed.items():
        assert torch.equal(model.get_buffer(name), value), name


@pytest.mark.parametrize('out_indices', [(1,), (0, 1, 2, 3)])
@pytest.mark.parametrize('family', ALL)
def test_frozen_before_train_is_called(family, out_indices):
    """And up to the last stage that is built."""
    model = family_of(family)(
        **{**TINY[family], 'out_indices': out_indices},
        frozen_stages=max(out_indices) + 1,
    )
    assert model.training
    names = {n for n, p in model.named_parameters() if p.requires_grad}
    assert all(n.startswith('norm') for n in names)
    counts = dict.fromkeys(NORMED, 2 * len(out_indices)) | dict.fromkeys(
        PLAINS, 2
    )
    assert len(names) == counts.get(family, 0)
    x = torch.randn(1, 3, 9, 17)
    shapes = map_shapes(model, (9, 17), batch=1)
    assert [out.shape for out in model(x)] == shapes


@pytest.mark.parametrize('family', ALL)
def test_drop_path_rises_linearly(family):
    model = family_of(family)(**TINY[family], drop_path_rate=0.3)
    rates = [m.drop_prob for m in model.modules() if isinstance(m, DropPath)]
    blocks = 4 if family in PLAINS else sum(DEPTHS)
    assert rates == pytest.approx(
        [0.3 * i / (blocks - 1) for i in range(blocks)]
    )


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('family', ALL)
def test_autocast_gradients(family, dtype):
    model = nano(family)
    x = images(64, 50).float()
    expected = backward(copy.deepcopy(model), x)
    with torch.autocast('cpu', dtype=dtype):
        grads = backward(model, x)
    for name, grad in grads.items():
        assert grad.isfinite().all(), name
    flat, want = (
        torch.cat([g.flatten() for g in found.values()])
        for found in (grads, expected)
    )
    # Batch norms over few cells magnify what is rounded.
    limit = (16 if family == 'IViT' else 8) * torch.finfo(dtype).eps
    assert (flat - want).norm() < limit * want.norm()


@pytest.mark.parametrize('family', ALL)
def test_a_few_steps_of_bfloat16_autocast_learn(family):
    model = nano(family, drop_path_rate=0.1)
    # Plain transformers of so few blocks learn more slowly.
    rate = 1e-4 if family in PLAINS else 3e-5
    optimizer = torch.optim.AdamW(model.parameters(), rate)
    x, losses = images(32, 48).float(), []
    target = torch.tensor([0.5, -0.5])
    for _ in range(6):
        with torch.autocast('cpu', dtype=torch.bfloat16):
            means = model(x)[-1].float()[:, 0].mean((1, 2))
        loss = (means - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p.isfinite().all() for p in model.parameters())
    assert losses[-1] < 0.5 * losses[0]


LAYERS = {
    'FLattenSwin': {
        'patch_embed.proj.weight': 0,
        'patch_embed.norm.bias': 0,
        'layers.0.blocks.0.attn.scale': 1,
        'layers.0.downsample.reduction.weight': 2,
        'layers.1.blocks.1.norm1.weight': 3,
        'layers.2.blocks.0.attn.relative_position_bias_table': 4,
        'layers.2.downsample.norm.weight': 6,
        'layers.3.blocks.0.mlp.fc1.weight': 6,
        'norm0.weight': LAST,
        'norm3.bias': LAST,
    },
    'FLattenPVT': {
        'patch_embed1.proj.weight': 0,
        'pos_embed1': 0,
        'block1.0.norm1.weight': 1,
        'block1.0.attn.positional_encoding': 1,
        'pos_embed2': 2,
        'patch_embed2.norm.weight': 2,
        'block2.0.attn.q.weight': 2,
        'block2.1.norm1.weight': 3,
        'patch_embed4.proj.bias': 6,
        'block4.0.attn.scale': 6,
        'block4.0.mlp.fc2.weight': 6,
    },
    'FLattenPVTv2': {
        'patch_embed1.proj.weight': 0,
        'block1.0.attn.dwc.weight': 1,
        'norm1.weight': 1,  # before the second stage, with what it follows
        'patch_embed2.norm.weight': 2,
        'block2.1.mlp.fc1.weight': 3,
        'norm2.weight': 3,
        'block3.1.mlp.dwconv.dwconv.weight': 5,
        'norm3.bias': 5,
        'norm4.bias': 6,
    },
    'FLattenCSwin': {
        'stage1_conv_embed.0.weight': 0,
        'stage1_conv_embed.2.bias': 0,
        'stage1.0.attns.0.scale': 1,
        'merge1.conv.weight': 2,
        'stage2.1.qkv.weight': 3,
        'stage3.0.attns.1.get_v.weight': 4,
        'merge3.norm.weight': 6,
        'stage4.0.norm2.bias': 6,
        'norm3.weight': LAST,
    },
    'IViT': {
        'stem.0.conv.weight': 0,
        'stem.1.bn.bias': 0,
        'stages.0.0.conv1.conv.weight': 1,
        'stages.1.0.conv.weight': 2,  # the downsampling
        'stages.1.1.conv2.bn.weight': 2,
        'stages.1.2.conv1.conv.weight': 3,
        'stages.2.2.norm1.weight': 5,
        'stages.3.0.conv.weight': 6,
        'stages.3.1.norm1.weight': 6,
        'norm0.bias': LAST,
        'norm3.weight': LAST,
    },
    'PlainViT': {
        'patch_embed.proj.weight': 0,
        'pos_embed': 0,
        'blocks.0.norm1.weight': 1,
        'blocks.2.mlp.fc1.bias': 3,
        'blocks.3.attn.qkv.weight': 4,
        'norm.weight': 5,
    },
    'FLattenDeiT': {
        'pos_embed': 0,
        'blocks.1.attn.positional_encoding': 2,
        'blocks.3.attn.scale': 4,
        'norm.bias': 5,
    },
}


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
@pytest.mark.parametrize('family', ALL)
def test_layer_depths(family, prefix):
    model = tiny(family)
    last = 5 if family in PLAINS else LAST
    names = dict(model.named_parameters())
    for name, depth in LAYERS[family].items():
        assert name in names
        found = model.get_layer_depth(prefix + name, prefix)
        assert found == (depth, last + 1), name
    for name in ('bbox_head.fc.bias', 'neck.blocks.0.bias', 'neck.block1.0'):
        outside = model.get_layer_depth(name, prefix)
        assert outside == (last, last + 1)
    # What is built does not change them.
    cut = tiny(family, out_indices=(1,))
    for name, _ in cut.named_parameters():
        assert cut.get_layer_depth(name) == model.get_layer_depth(name), name


@pytest.mark.parametrize('family', ALL)
def test_every_layer_has_parameters(family):
    for model in (tiny(family), nano(family)):
        depths = {
            model.get_layer_depth(name)[0]
            for name, _ in model.named_parameters()
        }
        # Of the PVTs nothing comes after the blocks.
        layers = sum(model.depths) + (1 if family in PVTS else 2)
        assert depths == set(range(layers))
