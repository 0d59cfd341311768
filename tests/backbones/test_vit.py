# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What plain transformers alone have: numbers, options, tables."""

import copy

import backbone_cases as cases
import pytest
import torch
from backbone_cases import images
from mmengine.config import ConfigDict
from mmengine.runner import load_checkpoint
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import interpolate
from torch.utils.flop_counter import FlopCounterMode

from ivit.attention import FocusedLinearAttention, InteractiveAttention
from ivit.backbones import FLattenDeiT, PlainViT

ATTENTIONS = ['softmax', 'interactive', 'focused']
TINY = dict(dim=12, depth=3, num_heads=2)


def tiny(attention, seed=0, **kwargs):
    """A model of three blocks, trained on 3 x 3 cells."""
    return cases.tiny(
        'PlainViT',
        seed,
        **{
            'arch': TINY,
            'attention': attention,
            'img_size': 48,
            'out_indices': None,
            **kwargs,
        },
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
def test_what_is_missing_of_the_last_patches_is_zero(attention, size):
    model = tiny(attention, out_indices=(0, 2))
    x = images(*size)
    bottom, right = (-n % 16 for n in size)
    padded = torch.nn.functional.pad(x, (0, right, 0, bottom))
    for out, want in zip(model(x), model(padded), strict=True):
        assert torch.equal(out, want)


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
        (dict(mlp_ratio=0), 'mlp_ratio'),
    ],
)
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        PlainViT(**{'arch': TINY, **kwargs})
