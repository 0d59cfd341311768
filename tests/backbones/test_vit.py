# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Plain transformers: sizes, numbers, training, loading."""

import copy
import pickle

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmengine.runner import load_checkpoint
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import interpolate
from torch.utils.flop_counter import FlopCounterMode

from ivit.attention import FocusedLinearAttention, InteractiveAttention
from ivit.backbones import FLattenDeiT, PlainViT

ATTENTIONS = ['softmax', 'interactive', 'focused']
TINY = dict(dim=12, depth=3, num_heads=2)


def tiny(attention, seed=0, **kwargs):
    """A tiny float64 model in evaluation mode, no parameter at zero or one."""
    torch.manual_seed(seed)
    kwargs = {'arch': TINY, 'img_size': 48, **kwargs}
    model = PlainViT(attention=attention, **kwargs).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model


def images(*size, batch=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(
        batch, 3, *size, generator=generator, dtype=torch.float64
    )


@pytest.mark.parametrize(
    ('arch', 'attention', 'params', 'giga_macs'),
    [
        # DeiT's 5,717,416, 22,050,664 and 86,567,656, without class token
        # and its position.
        ('t', 'softmax', 5_717_416 - 2 * 192, 1.25),
        ('s', 'softmax', 22_050_664 - 2 * 384, 4.57),
        ('b', 'softmax', 86_567_656 - 2 * 768, 17.5),
        # In each block a table, a scale and DWC; 1.1 G in the paper.
        (
            't',
            'focused',
            5_717_416 - 2 * 192 + 12 * (196 * 192 + 192 + 64 * 26),
            1.14,
        ),
        # Four mixers of the heads, two of them with biases.
        ('t', 'interactive', 5_717_416 - 2 * 192 + 12 * (4 * 9 + 2 * 3), 1.23),
    ],
)
def test_parameters_and_macs(arch, attention, params, giga_macs):
    with torch.device('meta'):
        model = PlainViT(arch, attention).eval()
    dim = model.arch['dim']
    head = 1000 * (dim + 1)
    assert sum(p.numel() for p in model.parameters()) + head == params
    with (
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        model(torch.empty(1, 3, 224, 224, device='meta'))
    macs = counter.get_total_flops() / 2 + 1000 * dim
    assert macs / 1e9 == pytest.approx(giga_macs, rel=5e-3)


def test_names_are_deits():
    with torch.device('meta'):
        model = PlainViT('t')
    parts = ('norm1', 'norm2', 'attn.qkv', 'attn.proj', 'mlp.fc1', 'mlp.fc2')
    modules = [f'blocks.{i}.{part}' for i in range(12) for part in parts]
    modules += ['patch_embed.proj', 'norm']
    names = [f'{m}.{p}' for m in modules for p in ('weight', 'bias')]
    assert sorted(model.state_dict()) == sorted([*names, 'pos_embed'])


def layer_norm(x, state, name):
    x = x - x.mean(-1, keepdim=True)
    x = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    return x * state[f'{name}.weight'] + state[f'{name}.bias']


def linear(x, state, name):
    return x @ state[f'{name}.weight'].T + state[f'{name}.bias']


def plain_vit(state, x, grid, depth, heads):
    """ViT by its equations; the tokens after every block."""
    patches = x.unflatten(3, (-1, 16)).unflatten(2, (-1, 16))
    patches = patches.permute(0, 2, 4, 1, 3, 5)  # B, h, w, C, 16, 16
    size = patches.shape[1:3]
    weight = state['patch_embed.proj.weight'].flatten(1)
    x = patches.flatten(3).flatten(1, 2) @ weight.T
    table = state['pos_embed'].transpose(1, 2).unflatten(2, grid)
    table = interpolate(table, size, mode='bicubic').flatten(2)
    x = x + state['patch_embed.proj.bias'] + table.transpose(1, 2)
    outs = []
    for i in range(depth):
        block = f'blocks.{i}'
        normed = layer_norm(x, state, f'{block}.norm1')
        qkv = linear(normed, state, f'{block}.attn.qkv').chunk(3, -1)
        parts = []
        for q, k, v in zip(
            *(part.chunk(heads, -1) for part in qkv), strict=True
        ):
            weights = (q @ k.mT / q.shape[-1] ** 0.5).exp()
            parts.append(weights / weights.sum(-1, keepdim=True) @ v)
        mixed = torch.cat(parts, -1)
        x = x + linear(mixed, state, f'{block}.attn.proj')
        normed = layer_norm(x, state, f'{block}.norm2')
        hidden = linear(normed, state, f'{block}.mlp.fc1')
        hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2
        x = x + linear(hidden, state, f'{block}.mlp.fc2')
        outs.append(x)
    outs[-1] = layer_norm(x, state, 'norm')
    return [out.mT.unflatten(2, size) for out in outs]


@pytest.mark.parametrize('size', [(48, 48), (64, 32), (16, 16), (112, 80)])
def test_softmax_by_its_equations(size):
    model = tiny('softmax', out_indices=(0, 1, 2))
    x = images(*size)
    want = plain_vit(model.state_dict(), x, (3, 3), 3, 2)
    for out, expected in zip(model(x), want, strict=True):
        torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)


def test_focused_runs_focused_attention():
    model = tiny('focused')
    assert [type(block.attn) for block in model.blocks] == [
        FocusedLinearAttention
    ] * 3
    grids = {block.attn.grid_size for block in model.blocks}
    assert grids == {(3, 3)}
    deit = FLattenDeiT(TINY, img_size=48).double().eval()
    deit.load_state_dict(model.state_dict())
    assert torch.equal(deit(images(48, 32))[0], model(images(48, 32))[0])


def test_options_reach_the_attention():
    attention = dict(type='interactive', landmarks=(2, 3), interaction='pre')
    for cfg in (attention, ConfigDict(attention)):
        for block in PlainViT(TINY, cfg).blocks:
            assert block.attn.landmarks == (2, 3)
            assert block.attn.interaction == 'pre'
            assert block.attn.decomposed
    assert attention['type'] == 'interactive'  # left as it was
    attention = dict(type='focused', focusing_factor=4, kernel_size=3)
    attn = FLattenDeiT(TINY, attention).blocks[2].attn
    assert attn.focusing_factor == 4
    assert attn.dwc.kernel_size == (3, 3)
    attention = dict(type='focused', focusing_factor=1, kernel_size=None)
    for block in PlainViT(TINY, attention).blocks:
        assert block.attn.focusing_factor == 1
        assert not any('dwc' in name for name in block.attn.state_dict())
    attn = PlainViT(TINY).blocks[0].attn
    assert isinstance(attn, InteractiveAttention)
    assert not attn.decomposed
    assert attn.interaction is None


@pytest.mark.parametrize('attention', ATTENTIONS)
@pytest.mark.parametrize('size', [(1, 1), (17, 100), (48, 48), (90, 33)])
def test_any_size(attention, size):
    model = tiny(attention, out_indices=(0, 2))
    x = images(*size)
    outs = model(x)
    shape = (2, 12, *(-(-n // 16) for n in size))
    assert [out.shape for out in outs] == [shape] * 2
    assert all(out.isfinite().all() for out in outs)
    # What is missing of the last patches is zero.
    bottom, right = (-n % 16 for n in size)
    padded = torch.nn.functional.pad(x, (0, right, 0, bottom))
    assert torch.equal(model(padded)[1], outs[1])
    # Of a batch each is by itself.
    torch.testing.assert_close(model(x[1:])[1], outs[1][1:])


@pytest.mark.parametrize('attention', ATTENTIONS)
def test_size_and_weights_may_change_between_calls(attention):
    model = tiny(attention)
    with torch.no_grad():
        first = model(images(64, 48))[0]
        model(images(32, 80))
        assert torch.equal(model(images(64, 48))[0], first)
        # As some optimizers write, unseen by autograd.
        model.pos_embed.data.add_(torch.randn_like(model.pos_embed))
        model.train().eval()
        fresh = pickle.loads(pickle.dumps(model))
        out = model(images(64, 48))[0]
        assert torch.equal(out, fresh(images(64, 48))[0])
        assert not torch.allclose(out, first)


def gradients(model, x):
    model.zero_grad()
    sum((out**3).mean() for out in model(x)).float().backward()
    return {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize('attention', ATTENTIONS)
@pytest.mark.parametrize('out_indices', [None, (0,), (0, 1, 2)])
def test_every_parameter_gets_a_gradient(attention, out_indices):
    model = tiny(attention, out_indices=out_indices).train()
    built = max(out_indices) + 1 if out_indices else 3
    assert len(model.blocks) == built
    for name, grad in gradients(model, images(64, 70)).items():
        assert grad is not None, name
        assert grad.isfinite().all(), name
        assert grad.abs().max() > 0, name


@pytest.mark.parametrize('attention', ATTENTIONS)
def test_checkpointing_changes_nothing_and_keeps_less(attention):
    plain, saving = (tiny(attention, with_cp=cp) for cp in (False, True))
    x, sizes = images(64, 80), []
    for model in (plain, saving):
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, kept=kept: kept.append(t.nbytes) or t, lambda t: t
        ):
            model(x)
        sizes.append(sum(kept) - x.nbytes)  # both keep the images
    assert sizes[1] < 0.5 * sizes[0]
    wanted = gradients(plain, x)
    for name, grad in gradients(saving, x).items():
        torch.testing.assert_close(grad, wanted[name])


@pytest.mark.parametrize('attention', ATTENTIONS)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_autocast(attention, dtype):
    torch.manual_seed(0)
    model = PlainViT('n', attention, img_size=64).eval()
    model.init_weights()
    x = images(64, 80, batch=1).float()
    with torch.no_grad():
        exact = copy.deepcopy(model).double()(x.double())[0]
    with torch.autocast('cpu', dtype=dtype):
        out = model(x)[0]
    out.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    error = (out.double() - exact).square().mean().sqrt()
    assert error / exact.std() < 8 * torch.finfo(dtype).eps


@pytest.mark.parametrize('frozen_stages', [-1, 0, 2, 3])
def test_frozen_stages(frozen_stages):
    model = PlainViT(
        TINY, 'focused', frozen_stages=frozen_stages, drop_path_rate=0.5
    )
    for _ in range(2):
        model.train()
        for i, block in enumerate(model.blocks):
            assert block.training == (i >= frozen_stages)
        for name, parameter in model.named_parameters():
            depth = model.get_layer_depth(name)[0]
            assert parameter.requires_grad == (depth > frozen_stages), name
        model.eval()


def test_drop_path_rises_linearly():
    model = PlainViT('t', drop_path_rate=0.22)
    rates = [block.drop_path.drop_prob for block in model.blocks]
    assert rates == pytest.approx([0.02 * i for i in range(12)])


@pytest.mark.parametrize('out_indices', [None, (1,)])
def test_layer_depths(out_indices):
    model = PlainViT(TINY, 'focused', out_indices=out_indices)
    want = {'patch_embed': 0, 'pos_embed': 0, 'norm': 4}
    for name, _ in model.named_parameters():
        part, index = name.split('.')[0], name.split('.')[1:2]
        depth = int(index[0]) + 1 if part == 'blocks' else want[part]
        for prefix in ('', 'backbone.'):
            found = model.get_layer_depth(prefix + name, prefix)
            assert found == (depth, 5), name
    assert model.get_layer_depth('head.fc.weight', 'backbone.') == (4, 5)
    assert model.get_layer_depth('neck.blocks.0.weight', 'backbone.')[0] == 4


@pytest.mark.parametrize('attention', ATTENTIONS)
def test_a_classifier_becomes_a_backbone(attention, tmp_path):
    source = tiny(attention)
    state = {f'backbone.{k}': v for k, v in source.state_dict().items()}
    state['head.fc.weight'] = torch.randn(10, 12)
    path = str(tmp_path / 'classifier.pth')
    torch.save({'state_dict': state}, path)
    cfg = dict(type='Pretrained', checkpoint=path, prefix='backbone.')
    model = tiny(attention, 1, init_cfg=cfg)
    model.init_weights()
    assert torch.equal(model(images(48, 64))[0], source(images(48, 64))[0])
    # Blocks that are not built may be left over.
    cut = tiny(attention, 1, init_cfg=cfg, out_indices=(0, 1))
    cut.init_weights()
    for name, value in cut.state_dict().items():
        assert torch.equal(value, source.state_dict()[name]), name


@pytest.mark.parametrize('attention', ATTENTIONS)
def test_tables_are_resized_in_loading(attention, tmp_path):
    source, model = tiny(attention), tiny(attention, 1, img_size=80)
    path = str(tmp_path / 'weights.pth')
    torch.save(source.state_dict(), path)
    load_checkpoint(model, path)
    tables = [n for n in source.state_dict() if 'pos' in n]
    assert len(tables) == (4 if attention == 'focused' else 1)
    for name, value in source.state_dict().items():
        if name in tables:
            value = value.transpose(1, 2).unflatten(2, (3, 3))
            value = interpolate(value, (5, 5), mode='bicubic')
            value = value.flatten(2).transpose(1, 2)
        torch.testing.assert_close(model.state_dict()[name], value)
    # Resized then or now: the same maps.
    torch.testing.assert_close(model(images(80, 80)), source(images(80, 80)))


def test_what_does_not_fit_is_an_error():
    model = PlainViT(TINY, img_size=48)
    before = copy.deepcopy(model.state_dict())
    deeper = PlainViT(dict(TINY, depth=4), img_size=48)
    focused = PlainViT(TINY, 'focused', img_size=48)
    wider = PlainViT(dict(TINY, dim=16), img_size=48)
    for other in (deeper, focused, wider):
        with pytest.raises(ValueError, match='does not fit this PlainViT'):
            model.load_state_dict(other.state_dict(), strict=False)
    with pytest.raises(ValueError, match='does not fit this FLattenDeiT'):
        FLattenDeiT(TINY, img_size=48).load_state_dict(before, strict=False)
    deits = dict(before, pos_embed=torch.zeros(1, 197, 12))  # a class token
    with pytest.raises(ValueError, match='197 entries, which lie on no squar'):
        model.load_state_dict(deits)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(arch='xl'), "arch='xl'.*'n'"),
        (dict(arch=dict(dim=8, depth=2)), 'keys .*depth.*dim.*num_heads'),
        (
            dict(arch=dict(TINY, depth=0)),
            r"arch\['depth'\]=0 must be an integer",
        ),
        (dict(arch=dict(TINY, num_heads=5)), 'num_heads=5.*dim=12'),
        (dict(attention='linear'), "attention='linear'.*'focused'"),
        (dict(attention=3), 'attention=3 must be'),
        (dict(attention={}), 'attention={} must be'),
        (dict(attention=['focused']), r"attention=\['focused'\] must be"),
        (dict(attention=dict(landmarks=(7, 7))), 'attention=.*as its type'),
        (
            dict(attention=dict(type='softmax', interaction='both')),
            r"unknown options \['interaction'\]; softmax attention takes \[\]",
        ),
        (
            dict(attention=dict(type='focused', kernel_size=4)),
            'kernel_size=4 must be odd',
        ),
        (dict(img_size=100), 'img_size=100 .*multiple of 16'),
        (dict(img_size=0), 'img_size=0 '),
        (dict(out_indices=()), r'out_indices=\(\)'),
        (dict(out_indices=(3,)), r'out_indices=\(3,\).*0 to 2'),
        (dict(out_indices=(1, 0)), 'rising order'),
        (dict(out_indices=(1,), frozen_stages=3), 'frozen_stages=3 .* to 2'),
        (dict(drop_path_rate=1), r'drop_path_rate=1 must be in \[0, 1\)'),
        (dict(in_channels=0), 'in_channels=0'),
        (dict(mlp_ratio=0), 'mlp_ratio'),
    ],
)
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        PlainViT(**{'arch': TINY, **kwargs})


@pytest.mark.parametrize('shape', [(3, 32, 32), (1, 4, 32, 32), (1, 3, 0, 8)])
def test_wrong_input(shape):
    with pytest.raises(ValueError, match='The input has shape'):
        PlainViT(TINY)(torch.zeros(shape))


@pytest.mark.parametrize('name', ['PlainViT', 'FLattenDeiT'])
@pytest.mark.parametrize('scope', ['mmengine', 'mmdet', 'mmseg', 'mmpretrain'])
def test_registered_once_for_all_scopes(name, scope):
    registry = MODELS
    if scope != 'mmengine':
        registry = pytest.importorskip(f'{scope}.registry').MODELS
    assert (
        registry.get(name)
        is {
            'PlainViT': PlainViT,
            'FLattenDeiT': FLattenDeiT,
        }[name]
    )
