# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Training, precision and saving of every FLatten family."""

import copy
import pickle

import pytest
import torch
from flatten_cases import (
    FAMILIES,
    NANO,
    SIZES,
    TINY,
    TYPES,
    WINDOWED,
    family_of,
    images,
    map_shapes,
    tiny,
)
from mmcv.cnn.bricks import DropPath
from mmengine.registry import MODELS
from mmengine.runner import load_checkpoint
from torch.nn.functional import layer_norm

DEPTHS = SIZES['depths']
LAST = sum(DEPTHS) + 1


def nano(family, **kwargs):
    """A small model with initial weights."""
    torch.manual_seed(0)
    model = family_of(family)(**{**NANO[family], **kwargs})
    model.init_weights()
    return model


def backward(model, x):
    """Gradients by name, of something that all maps go into."""
    model.zero_grad()
    sum((out**3).mean() for out in model(x)).float().backward()
    return {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize(
    'out_indices', [(0, 1, 2, 3), (0,), (1, 2, 3), (3,), (0, 2)]
)
@pytest.mark.parametrize('family', FAMILIES)
def test_every_parameter_gets_a_gradient(family, out_indices):
    model = nano(family, out_indices=out_indices)
    x = images(64, 96).float()
    for name, grad in backward(model, x).items():
        assert grad is not None, name
        assert grad.isfinite().all(), name
        assert grad.abs().max() > 0, name
    assert [out.shape for out in model(x)] == map_shapes(model, (64, 96))


@pytest.mark.parametrize(('family', 'attn_type'), TYPES)
def test_every_parameter_gets_a_gradient_whatever_the_attention(
    family, attn_type
):
    model = tiny(family, attn_type=attn_type)
    for name, grad in backward(model, images(70, 101)).items():
        assert grad is not None and grad.abs().max() > 0, name


@pytest.mark.parametrize('out_indices', [(0,), (1, 3), (2,)])
@pytest.mark.parametrize('family', FAMILIES)
def test_out_indices_choose_among_the_maps(family, out_indices):
    full, model = tiny(family), tiny(family, out_indices=out_indices)
    names = model.state_dict().keys()
    # Nothing is built that no map needs.
    unused = family in WINDOWED or 3 not in out_indices
    assert (len(names) < len(full.state_dict())) == unused
    model.load_state_dict(
        {k: v for k, v in full.state_dict().items() if k in names}
    )
    x = images(50, 60)
    with torch.no_grad():
        maps, outs = full(x), model(x)
    for i, out in zip(out_indices, outs, strict=True):
        assert torch.equal(out, maps[i])


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


@pytest.mark.parametrize('frozen_stages', [-1, 0, 1, 2, 3, 4])
@pytest.mark.parametrize('family', FAMILIES)
def test_frozen_stages(family, frozen_stages):
    kwargs = dict(norm_outputs=False) if family in WINDOWED else {}
    model = tiny(
        family, frozen_stages=frozen_stages, drop_path_rate=0.9, **kwargs
    )
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
            frozen = depth <= sum(DEPTHS[: max(frozen_stages, 0)])
            if name.startswith(f'layers.{frozen_stages - 1}.downsample.'):
                frozen = True  # Swin's belongs to the stage before it
            frozen = frozen and frozen_stages >= 0
            assert parameter.requires_grad != frozen, name
            module = model.get_submodule(name.rpartition('.')[0])
            assert name.startswith('pos_embed') or module.training != frozen
    outs, others = model(x), model(x)
    for i, (out, other) in enumerate(zip(outs, others, strict=True)):
        assert out.requires_grad == (i >= frozen_stages)
        # Nothing is dropped in a frozen stage.
        assert i >= frozen_stages or torch.equal(out, other)


@pytest.mark.parametrize('family', FAMILIES)
def test_frozen_before_train_is_called(family):
    model = family_of(family)(**TINY[family], frozen_stages=4)
    names = {n for n, p in model.named_parameters() if p.requires_grad}
    assert all(n.startswith('norm') for n in names)
    assert len(names) == (8 if family in WINDOWED else 0)


@pytest.mark.parametrize('family', FAMILIES)
def test_checkpointing_changes_nothing(family):
    grads = []
    for with_cp in (False, True):
        model = tiny(
            family, attn_type='LSLS', with_cp=with_cp, drop_path_rate=0.3
        ).train()
        torch.manual_seed(1)
        grads.append(backward(model, images(70, 56)))
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name])


@pytest.mark.parametrize('family', FAMILIES)
def test_checkpointing_keeps_less(family):
    def kept(model):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.append(t.nbytes) or t, lambda t: t
        ):
            model(images(64, 64).float())
        return sum(sizes)

    saving, plain = nano(family, with_cp=True), nano(family)
    assert kept(saving) < 0.5 * kept(plain)


@pytest.mark.parametrize('family', FAMILIES)
def test_drop_path_rises_linearly(family):
    model = family_of(family)(**NANO[family], drop_path_rate=0.3)
    rates = [m.drop_prob for m in model.modules() if isinstance(m, DropPath)]
    blocks = sum(model.arch['depths'])
    assert rates == pytest.approx(
        [0.3 * i / (blocks - 1) for i in range(blocks)]
    )


@pytest.mark.parametrize('attn_type', ['LLSS', 'LLLL'])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('family', FAMILIES)
def test_low_precision(family, dtype, attn_type):
    """Autocast and models of 16 bits: rounding, and nothing worse."""
    model = nano(family, attn_type=attn_type).eval()
    x = images(64, 50)
    with torch.no_grad():
        expected = copy.deepcopy(model).double()(x)
        with torch.autocast('cpu', dtype=dtype):
            mixed = model(x.float())
        pure = copy.deepcopy(model).to(dtype)(x.to(dtype))
    for outs in (mixed, pure):
        for out, exact in zip(outs, expected, strict=True):
            error = (out.double() - exact).square().mean().sqrt()
            assert error / exact.std() < 2 * torch.finfo(dtype).eps
    assert all(out.dtype == dtype for out in pure)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('family', FAMILIES)
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
    assert (flat - want).norm() < 8 * torch.finfo(dtype).eps * want.norm()


@pytest.mark.parametrize('family', FAMILIES)
def test_a_few_steps_of_bfloat16_autocast_learn(family):
    model = nano(family, drop_path_rate=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-5)
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


@pytest.mark.parametrize('family', FAMILIES)
def test_save_copy_and_pickle(family, tmp_path):
    model = tiny(family, with_cp=True)
    x = images(64, 50)
    with torch.no_grad():
        expected = model(x)  # and tables are kept for this size
    path = tmp_path / 'weights.pth'
    torch.save(model.state_dict(), path)
    loaded = family_of(family)(**TINY[family]).double().eval()
    load_checkpoint(loaded, str(path))
    for other in (
        loaded,
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ):
        with torch.no_grad():
            for out, want in zip(other(x), expected, strict=True):
                assert torch.equal(out, want)


@pytest.mark.parametrize('scope', ['mmengine', 'mmdet', 'mmseg', 'mmpretrain'])
@pytest.mark.parametrize('family', FAMILIES)
def test_registered_once_for_all_scopes(family, scope):
    registry = MODELS
    if scope != 'mmengine':
        registry = pytest.importorskip(f'{scope}.registry').MODELS
    model = registry.build(dict(type=family, **NANO[family]))
    assert type(model) is family_of(family)


@pytest.mark.parametrize('family', FAMILIES)
def test_default_windows_at_all_sizes(family):
    """Nothing but the size is needed at the published ones."""
    for img_size in (224, 384):
        with torch.device('meta'):
            model = family_of(family)('n', img_size=img_size)
            outs = model(torch.empty(1, 3, img_size, img_size))
        size = (img_size, img_size)
        assert [o.shape for o in outs] == map_shapes(model, size, batch=1)


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
        'block1.0.attn.positional_encoding': 1,
        'pos_embed2': 2,
        'patch_embed2.norm.weight': 2,
        'block2.1.norm1.weight': 3,
        'patch_embed4.proj.bias': 6,
        'block4.0.mlp.fc2.weight': 6,
    },
    'FLattenPVTv2': {
        'patch_embed1.proj.weight': 0,
        'block1.0.attn.dwc.weight': 1,
        'norm1.weight': 1,  # before the second stage, with what it follows
        'patch_embed2.norm.weight': 2,
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
}


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
@pytest.mark.parametrize('family', FAMILIES)
def test_layer_depths(family, prefix):
    model = tiny(family)
    names = dict(model.named_parameters())
    for name, depth in LAYERS[family].items():
        assert name in names
        found = model.get_layer_depth(prefix + name, prefix)
        assert found == (depth, LAST + 1), name
    depths = {model.get_layer_depth(prefix + n, prefix)[0] for n in names}
    # Of the PVTs nothing comes after the blocks.
    assert depths == set(range(LAST + (family in WINDOWED)))
    outside = model.get_layer_depth('bbox_head.fc.bias', prefix)
    assert outside == (LAST, LAST + 1)


@pytest.mark.parametrize('family', FAMILIES)
def test_compiles_as_one_graph(family):
    model = nano(family).eval()
    compiled = torch.compile(model, backend='eager', fullgraph=True)
    x = images(64, 96).float()
    with torch.no_grad():
        for out, expected in zip(compiled(x), model(x), strict=True):
            torch.testing.assert_close(out, expected)
    torch._dynamo.reset()
