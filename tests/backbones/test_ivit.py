# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import copy
import itertools
import pickle

import pytest
import torch
from mmengine.registry import MODELS as ROOT
from mmengine.runner import load_checkpoint
from torch.utils.flop_counter import FlopCounterMode

from ivit.attention import InteractiveAttention
from ivit.backbones import IViT

ARCHS = sorted(IViT.arch_settings)
# DESIGN of the family: parameters (M) and MACs (G) at 224 x 224, with a
# classifier of 1000 classes.
BUDGETS = {
    'n': (0, 1, 0.3),
    't': (8, 11, 1.6),
    's': (25, 28, 4.3),
    'b': (48, 52, 9.0),
}
TINY = dict(dims=(8, 8, 16, 32), depths=(1, 1, 2, 1), num_heads=(1, 1, 2, 4))


def macs(model, size):
    """Multiply-adds, counted without computing anything."""
    model = copy.deepcopy(model).to('meta')
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, *size, device='meta'))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize('arch', ARCHS)
def test_budget(arch):
    model = IViT(arch, out_indices=(3,)).eval()
    head = 1000 * (model.arch['dims'][3] + 1)
    params = sum(p.numel() for p in model.parameters()) + head
    low, high, most_macs = BUDGETS[arch]
    assert low < params / 1e6 < high
    assert (macs(model, (224, 224)) + head) / 1e9 < most_macs


@pytest.mark.parametrize('arch', ARCHS)
def test_cost_is_linear_in_pixels(arch):
    model = IViT(arch).eval()
    ratio = macs(model, (1600, 2688)) / macs(model, (800, 1344))
    assert 3.99 < ratio <= 4.0


def test_undecomposed_cost_is_not_linear():
    model = IViT('n', decomposed=False).eval()
    assert macs(model, (1600, 2688)) > 6 * macs(model, (800, 1344))


@pytest.mark.parametrize('arch', ARCHS)
def test_every_parameter_gets_a_gradient(arch):
    torch.manual_seed(0)
    model = IViT(arch)
    model.init_weights()
    outs = model(torch.randn(2, 3, 64, 64))
    sum((out * torch.randn_like(out)).sum() for out in outs).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    'size',
    [(224, 224), (1, 1), (2, 3), (31, 31), (112, 137), (95, 27), (33, 513)],
)
def test_any_size(size):
    model = IViT('n').eval()
    with torch.no_grad():
        outs = model(torch.randn(2, 3, *size))
    for out, dim, stride in zip(
        outs, model.arch['dims'], (4, 8, 16, 32), strict=True
    ):
        height, width = (-(-side // stride) for side in size)
        assert out.shape == (2, dim, height, width)
        assert out.isfinite().all()


def test_size_may_change_between_calls():
    model = IViT(TINY).eval()
    x = torch.randn(1, 3, 64, 40)
    with torch.no_grad():
        before = model(x)
        model(torch.randn(1, 3, 37, 90))
        after = model(x)
    for first, second in zip(before, after, strict=True):
        assert torch.equal(first, second)


def test_an_image_in_a_batch_gives_what_it_gives_alone():
    model = IViT(TINY).double().eval()
    x = torch.randn(3, 3, 50, 70).double()
    with torch.no_grad():
        for together, alone in zip(model(x), model(x[1:2]), strict=True):
            torch.testing.assert_close(together[1:2], alone)


@pytest.mark.parametrize(
    'blocks', list(itertools.product(('conv', 'attention'), repeat=4))
)
def test_block_kinds(blocks):
    model = IViT(TINY, blocks=blocks).eval()
    for stage, kind in zip(model.stages, blocks, strict=True):
        attentions = [
            m for m in stage.modules() if isinstance(m, InteractiveAttention)
        ]
        assert bool(attentions) == (kind == 'attention')
    assert len(model(torch.randn(1, 3, 30, 50))) == 4


@pytest.mark.parametrize('decomposed', [True, False])
@pytest.mark.parametrize('interaction', ['both', 'pre', 'post', None])
def test_attention_options_reach_the_attention(decomposed, interaction):
    model = IViT(
        TINY,
        landmarks=(3, 4),
        decomposed=decomposed,
        interaction=interaction,
        mlp_ratio=2,
    )
    attentions = [
        m for m in model.modules() if isinstance(m, InteractiveAttention)
    ]
    assert len(attentions) == 3
    for attn in attentions:
        assert attn.landmarks == (3, 4)
        assert attn.decomposed == decomposed
        assert attn.interaction == interaction
    assert model.stages[3][1].mlp[0].out_features == 64


@pytest.mark.parametrize('out_indices', [(0,), (1, 3), (3,), (0, 2)])
def test_out_indices_build_only_what_is_used(out_indices):
    model = IViT(TINY, out_indices=out_indices)
    full = IViT(TINY)
    model.load_state_dict(full.state_dict(), strict=False)
    outs = model.eval()(torch.randn(1, 3, 64, 64))
    assert len(outs) == len(out_indices)
    assert len(model.stages) == max(out_indices) + 1
    sum(out.square().sum() for out in outs).backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize('frozen_stages', [-1, 0, 1, 2, 3, 4])
def test_frozen_stages(frozen_stages):
    # Frozen from the start: DDP and optimizers look before train() is called.
    model = IViT(TINY, frozen_stages=frozen_stages)
    parts = [model.stem, *model.stages]
    assert model.eval().train() is model
    for i, part in enumerate(parts):
        frozen = i <= frozen_stages
        assert all(m.training != frozen for m in part.modules())
        assert all(p.requires_grad != frozen for p in part.parameters())
    before = copy.deepcopy(parts[: frozen_stages + 1])
    outs = model(torch.randn(2, 3, 64, 64))
    sum(out.square().sum() for out in outs).backward()
    for old, new in zip(before, parts, strict=False):
        for name, value in old.state_dict().items():
            assert torch.equal(value, new.state_dict()[name])


def test_norm_eval_keeps_statistics():
    model = IViT(TINY, norm_eval=True)
    assert model.train() is model
    before = copy.deepcopy(model.state_dict())
    model(torch.randn(2, 3, 64, 64) * 9)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    assert not any(m.training for m in norms)
    assert model.stages[2][1].training


def test_norm_eval_without_weights_warns(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'ivit.backbones.ivit.print_log', lambda line, **_: lines.append(line)
    )
    IViT(TINY).init_weights()
    assert not lines
    listed = [dict(type='Pretrained', checkpoint='nowhere.pth')]
    with pytest.raises(FileNotFoundError):
        IViT(TINY, norm_eval=True, init_cfg=listed).init_weights()
    assert not lines
    IViT(TINY, norm_eval=True).init_weights()
    assert 'norm_eval=True without a Pretrained init_cfg' in lines[0]


def test_checkpointing_changes_nothing():
    torch.manual_seed(0)
    plain = IViT(TINY).double()
    saving = IViT(TINY, with_cp=True).double()
    saving.load_state_dict(plain.state_dict())
    grads = []
    for model in (plain, saving):
        x = torch.randn(
            2, 3, 70, 56, generator=torch.Generator().manual_seed(1)
        ).double()
        sum(out.square().sum() for out in model(x)).backward()
        grads.append({n: p.grad for n, p in model.named_parameters()})
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name])
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(value, saving.state_dict()[name])


def test_checkpointing_keeps_less():
    def kept(model):
        sizes = []
        x = torch.randn(2, 3, 64, 64)
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.append(t.nbytes) or t, lambda t: t
        ):
            model(x)
        return sum(sizes)

    assert kept(IViT('n', with_cp=True)) < 0.5 * kept(IViT('n'))


def test_pickles():
    model = pickle.loads(pickle.dumps(IViT(TINY, with_cp=True)))
    assert len(model(torch.randn(2, 3, 64, 64))) == 4


def test_drop_path_rises_linearly():
    model = IViT('t', drop_path_rate=0.3)
    rates = [
        block.drop_path.drop_prob
        for stage in model.stages
        for block in stage
        if hasattr(block, 'drop_path')
    ]
    assert rates == pytest.approx(torch.linspace(0, 0.3, 11).tolist())


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_autocast(dtype):
    torch.manual_seed(0)
    model = IViT('n')
    model.init_weights()
    model.eval()
    x = torch.randn(1, 3, 96, 70)
    with torch.no_grad():
        expected = copy.deepcopy(model).double()(x.double())
    with torch.autocast('cpu', dtype=dtype):
        outs = model(x)
    sum(out.float().square().sum() for out in outs).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    for out, exact in zip(outs, expected, strict=True):
        error = (out.double() - exact).square().mean().sqrt()
        assert error / exact.std() < 8 * torch.finfo(dtype).eps


def test_save_and_load(tmp_path):
    torch.manual_seed(0)
    model, other = IViT(TINY).eval(), IViT(TINY).eval()
    path = tmp_path / 'weights.pth'
    torch.save(model.state_dict(), path)
    load_checkpoint(other, str(path))
    x = torch.randn(1, 3, 64, 64)
    for ours, theirs in zip(model(x), other(x), strict=True):
        assert torch.equal(ours, theirs)


def test_pretrained_classifier_becomes_a_backbone(tmp_path):
    classifier = IViT(TINY, out_indices=(3,))
    state = {f'backbone.{k}': v for k, v in classifier.state_dict().items()}
    state['head.fc.weight'] = torch.randn(10, 32)
    path = tmp_path / 'classifier.pth'
    torch.save({'state_dict': state}, path)
    model = IViT(
        TINY,
        init_cfg=dict(
            type='Pretrained', checkpoint=str(path), prefix='backbone.'
        ),
    )
    model.init_weights()
    for name, value in classifier.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


@pytest.mark.parametrize('prefix', ['encoder.', None])
def test_pretrained_of_another_arch_or_prefix(tmp_path, prefix):
    # The right arch under a prefix, or the wrong one without.
    source = IViT(TINY if prefix else 't')
    path = tmp_path / 'weights.pth'
    state = {f'{prefix or ""}{k}': v for k, v in source.state_dict().items()}
    torch.save(state, path)
    model = IViT(TINY, init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    with pytest.raises(ValueError, match='does not fit this IViT'):
        model.init_weights()


@pytest.mark.parametrize('scope', ['mmengine', 'mmdet', 'mmseg', 'mmpretrain'])
def test_registered_once_for_all_scopes(scope):
    registry = ROOT
    if scope != 'mmengine':
        module = pytest.importorskip(f'{scope}.registry')
        registry = module.MODELS
    assert registry.get('IViT') is IViT


@pytest.mark.parametrize('arch', ARCHS)
def test_layer_depths(arch):
    model = IViT(arch)
    depths = model.arch['depths']
    seen = {}
    for name, _ in model.named_parameters():
        depth, total = model.get_layer_depth(f'backbone.{name}', 'backbone.')
        assert total == sum(depths) + 2
        seen.setdefault(depth, set()).add('.'.join(name.split('.')[:3]))
    assert sorted(seen) == list(range(sum(depths) + 2))
    # Depth never falls along the network, and the head comes last.
    assert model.get_layer_depth('stem.0.conv.weight')[0] == 0
    first_of_last = f'stages.3.{1}.norm1.weight'
    assert model.get_layer_depth(first_of_last)[0] == 1 + sum(depths[:3])
    assert model.get_layer_depth('stages.3.0.conv.weight')[0] == 1 + sum(
        depths[:3]
    )
    assert model.get_layer_depth('norm3.weight')[0] == sum(depths) + 1
    for prefix in ('', 'backbone.'):
        depth, _ = model.get_layer_depth('head.fc.bias', prefix)
        assert depth == sum(depths) + 1


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(arch='xl'), r"arch='xl' is unknown; .*'b', 'n', 's', 't'"),
        (dict(arch=dict(dims=(8,) * 4)), r"{'dims': .* with exactly the keys"),
        (dict(arch=['t']), r"arch=\['t'\] must be a name or a dict"),
        (dict(arch=dict(TINY, dims=8)), "'dims'\\]=8 must be four integers"),
        (dict(arch=dict(TINY, dims=(1, 8, 8, 8))), 'at least 2'),
        (dict(arch=dict(TINY, depths=(1.5, 1, 1, 1))), 'four integers'),
        (dict(landmarks=7), 'landmarks=7 must be two integers'),
        (dict(in_channels=0), 'in_channels=0'),
        (dict(mlp_ratio=0), 'mlp_ratio=0'),
        (dict(out_indices=3), 'out_indices=3'),
        (dict(out_indices=(2, 0)), r'out_indices=\(2, 0\) .* rising order'),
        (dict(out_indices=(1, 1)), r'out_indices=\(1, 1\)'),
        (dict(arch=dict(TINY, width=3)), "'width'"),
        (dict(arch=dict(TINY, depths=(1, 1, 1))), r"'depths'\]=\(1, 1, 1\)"),
        (dict(arch=dict(TINY, depths=(1, 0, 1, 1))), 'at least 1'),
        (dict(arch=dict(TINY, num_heads=(1, 1, 3, 4))), 'num_heads=3'),
        (dict(blocks=('conv',) * 3), r"blocks=\('conv', 'conv', 'conv'\)"),
        (dict(blocks=('mlp',) * 4), "'mlp'"),
        (dict(landmarks=(0, 0)), r'landmarks=\(0, 0\)'),
        (dict(interaction='none'), "interaction='none'"),
        (dict(out_indices=(0, 4)), r'out_indices=\(0, 4\)'),
        (dict(out_indices=(-1,)), r'out_indices=\(-1,\)'),
        (dict(out_indices=()), r'out_indices=\(\)'),
        (dict(frozen_stages=5), 'frozen_stages=5'),
        (dict(frozen_stages=-2), 'frozen_stages=-2'),
        (dict(out_indices=(1,), frozen_stages=3), 'frozen_stages=3'),
        (dict(drop_path_rate=1.0), 'drop_path_rate=1.0'),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        IViT(**{'arch': TINY, **kwargs})


@pytest.mark.parametrize(
    'shape', [(1, 1, 32, 32), (1, 4, 32, 32), (3, 32, 32), (1, 3, 0, 8)]
)
def test_bad_input(shape):
    with pytest.raises(ValueError, match=r'must be \(B, 3, H, W\)'):
        IViT(TINY)(torch.randn(shape))
    assert len(IViT(TINY, in_channels=4)(torch.randn(2, 4, 32, 32))) == 4
