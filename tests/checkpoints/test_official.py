# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The authors' files and our own, by every way in, into every family."""

import copy
import pickle
from itertools import permutations

import numpy as np
import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.runner import load_checkpoint, load_state_dict
from official_files import (
    FAMILIES,
    OUTPUT_NORMS,
    SIZES,
    Detector,
    authors,
    build,
    every_family,
    is_loaded,
)
from torch import nn

from ivit import backbones
from ivit.checkpoints import official
from ivit.checkpoints.tables import fit_tables


@pytest.fixture
def log(monkeypatch):
    lines = []
    monkeypatch.setattr(official, 'print_log', lambda m, **_: lines.append(m))
    return lines


def by_init_cfg(family, content, path, **kwargs):
    torch.save(content, path)
    pretrained = dict(type='Pretrained', checkpoint=str(path))
    backbone = build(family, init_cfg={**pretrained, **kwargs})
    backbone.init_weights()
    return backbone


def by_load_checkpoint(family, content, path):
    torch.save(content, path)
    backbone = build(family)
    load_checkpoint(backbone, str(path), strict=True)
    return backbone


def by_torch(family, content, path):
    backbone = build(family)
    backbone.load_state_dict(content)
    return backbone


def by_torch_and_its_weights_alone(family, content, path):
    backbone = build(family)
    backbone.load_state_dict(content['model'])
    return backbone


def with_prefixes(family, content, path):
    weights = {f'module.backbone.{k}': v for k, v in content['model'].items()}
    weights['module.neck.weight'] = torch.zeros(3)
    return by_load_checkpoint(family, dict(model=weights), path)


def with_mmengines_prefix(family, content, path):
    weights = {f'backbone.{k}': v for k, v in content['model'].items()}
    weights['head.fc.weight'] = torch.zeros(3)
    content = dict(state_dict=weights, meta={})
    return by_init_cfg(family, content, path, prefix='backbone.')


def in_a_detector(family, content, path):
    detector = Detector(family)
    weights = {f'backbone.{k}': v for k, v in content['model'].items()}
    weights.update(
        {f'neck.{k}': v for k, v in detector.neck.state_dict().items()}
    )
    detector.load_state_dict(weights)
    return detector.backbone


def in_a_wrapper_by_mmengine(family, content, path):
    wrapped = nn.DataParallel(build(family))
    load_state_dict(wrapped, content, strict=True)
    return wrapped.module


def in_a_wrapper_by_torch(family, content, path):
    wrapped = nn.DataParallel(build(family))
    wrapped.load_state_dict(
        {f'module.{k}': v for k, v in content['model'].items()}
    )
    return wrapped.module


@every_family
@pytest.mark.parametrize(
    'way',
    [
        by_init_cfg,
        by_load_checkpoint,
        by_torch,
        by_torch_and_its_weights_alone,
        with_prefixes,
        with_mmengines_prefix,
        in_a_detector,
        in_a_wrapper_by_mmengine,
        in_a_wrapper_by_torch,
    ],
)
def test_every_way_in(family, way, tmp_path):
    content = authors(family)
    backbone = way(family, content, tmp_path / 'authors.pth')
    weights = content['model']
    assert is_loaded(backbone, weights)
    if family in OUTPUT_NORMS:  # the norm in front of the head
        assert torch.equal(backbone.norm3.weight, weights['norm.weight'])
        assert torch.equal(backbone.norm3.bias, weights['norm.bias'])
        assert torch.equal(backbone.norm1.weight, torch.ones(16))


@every_family
def test_our_own_checkpoint(family):
    source = Detector(family)
    for parameter in source.parameters():
        nn.init.normal_(parameter)
    target = Detector(family)
    target.load_state_dict(source.state_dict())
    assert is_loaded(target.backbone, source.backbone.state_dict())
    average = ExponentialMovingAverage(target)
    average.load_state_dict(ExponentialMovingAverage(source).state_dict())
    assert is_loaded(average.module.backbone, source.backbone.state_dict())


@pytest.mark.parametrize('family', OUTPUT_NORMS)
def test_output_norms_of_its_own_are_kept(family):
    weights = authors(family)['model']
    weights['norm3.weight'] = torch.full((32,), 7.0)
    weights['norm3.bias'] = torch.full((32,), 8.0)
    for name in ('norm.weight', 'norm.bias'):  # whatever comes last
        weights[name] = weights.pop(name)
    backbone = build(family)
    backbone.load_state_dict(weights)
    assert torch.equal(backbone.norm3.weight, weights['norm3.weight'])
    assert torch.equal(backbone.norm3.bias, weights['norm3.bias'])


@pytest.mark.parametrize('family', OUTPUT_NORMS)
def test_output_norms_must_not_get_lost(family):
    state = build(family).state_dict()
    with pytest.raises(ValueError, match=r'8 left over \(norm0.bias'):
        build(family, norm_outputs=False).load_state_dict(state)
    fewer = build(family, out_indices=(1, 3))  # that of map 0 is of no use
    fewer.load_state_dict(state)
    missing = {k: v for k, v in state.items() if not k.startswith('norm0.')}
    with pytest.raises(RuntimeError, match='Missing key.*norm0.weight'):
        build(family).load_state_dict(missing)


@every_family
@pytest.mark.parametrize('last', [0, 1, 2])
def test_stages_that_are_not_built(family, last):
    content = authors(family)
    backbone = build(family, out_indices=(last,))
    backbone.load_state_dict(content)
    assert is_loaded(backbone, content['model'])


def bicubic(maps, size):
    """Keys' bicubic, A = -0.75, pixel centres, of ``(h, w, C)`` in float64."""

    def matrix(old, new):
        weights = np.zeros((new, old))
        for i in range(new):
            centre = (i + 0.5) * old / new - 0.5
            for tap in range(int(np.floor(centre)) - 1, int(centre // 1) + 3):
                t, a = abs(centre - tap), -0.75
                w = (
                    (a + 2) * t**3 - (a + 3) * t**2 + 1
                    if t <= 1
                    else a * (t**3 - 5 * t**2 + 8 * t - 4)
                )
                weights[i, min(max(tap, 0), old - 1)] += w
        return weights

    rows, columns = matrix(maps.shape[0], size), matrix(maps.shape[1], size)
    return np.einsum('ih,jw,hwc->ijc', rows, columns, maps)


TABLES = ('positional_encoding', 'pos_embed', 'relative_position_bias_table')


@every_family
@pytest.mark.parametrize('by_authors', [True, False])
def test_tables_are_resized(family, by_authors, log):
    """From 96 pixels to 128, and Swin's windows from 3 to 4."""
    content = authors(family)
    if not by_authors:
        source = build(family)
        source.load_state_dict(content)
        content = source.state_dict()
    sizes = dict(window_size=4) if family == 'FLattenSwin' else {}
    if family == 'FLattenCSwin':
        sizes = dict(split_sizes=(4, 4, 4, 4))
    backbone = build(family, img_size=128, **sizes).double()
    backbone.load_state_dict(content)
    given = content.get('model', content)
    resized = 0
    for name, value in backbone.state_dict().items():
        if not any(table in name for table in TABLES):
            continue
        old = given[name].double().numpy().reshape(-1, value.shape[-1])
        new = value.numpy().reshape(-1, value.shape[-1])
        sides = [round(len(table) ** 0.5) for table in (old, new)]
        assert sides[0] != sides[1]
        expected = bicubic(old.reshape(sides[0], sides[0], -1), sides[1])
        new = new.reshape(expected.shape)
        np.testing.assert_allclose(new, expected, rtol=0, atol=1e-5)
        resized += 1
    assert resized > 2 or family == 'FLattenCSwin'
    assert f'resized {resized};' in log[-1]


def test_half_precision_is_resized():
    content = authors('FLattenPVT')
    backbone = build('FLattenPVT', img_size=128)
    backbone.load_state_dict(content)
    halves = {k: v.half() for k, v in content['model'].items()}
    other = build('FLattenPVT', img_size=128)
    other.load_state_dict(halves)
    for name, value in backbone.state_dict().items():
        torch.testing.assert_close(
            other.state_dict()[name], value, rtol=1e-2, atol=1e-2
        )


def test_tables_of_no_square_grid():
    given = {'block1.0.attn.positional_encoding': torch.rand(1, 12, 4)}
    own = {'block1.0.attn.positional_encoding': torch.rand(1, 16, 4)}
    with pytest.raises(ValueError, match=r'positional_encoding has 12 entr'):
        fit_tables(given, own)
    with pytest.raises(ValueError, match=r'positional_encoding has 12 entr'):
        fit_tables(own, given)
    assert fit_tables(given, given) == (given, [])
    with pytest.raises(ValueError, match='bias_table has 0 entries'):
        fit_tables(
            {'relative_position_bias_table': torch.rand(0, 2)},
            {'relative_position_bias_table': torch.rand(9, 2)},
        )


NAMES = {
    'FLattenSwin': 'a FLatten-Swin of depths 1, 2, 2, 1',
    'FLattenPVT': 'a FLatten-PVT of depths 1, 2, 2, 1',
    'FLattenPVTv2': 'a FLatten-PVTv2 of depths 1, 2, 2, 1',
    'FLattenCSwin': 'a FLatten-CSwin of depths 1, 2, 2, 1',
}


@pytest.mark.parametrize(('family', 'other'), permutations(FAMILIES, 2))
def test_another_family(family, other):
    backbone = build(family)
    before = copy.deepcopy(backbone.state_dict())
    message = f'does not fit this {family}.* the names of {NAMES[other]}'
    with pytest.raises(ValueError, match=message):
        load_state_dict(backbone, authors(other))
    assert is_loaded(backbone, before)


def test_families_beside_flatten():
    with pytest.raises(ValueError, match='the names of an iViT of depths'):
        build('FLattenSwin').load_state_dict(backbones.IViT('n').state_dict())
    swin = authors('FLattenSwin', attn_type='SSSS')
    with pytest.raises(ValueError, match='the names of a Swin of depths'):
        build('FLattenPVT').load_state_dict(swin)
    with pytest.raises(ValueError, match='does not fit this IViT.* a Swin'):
        backbones.IViT('n').load_state_dict(swin['model'])
    build('FLattenSwin', attn_type='SSSS').load_state_dict(swin)


def remove(name):
    return lambda weights: weights.pop(name)


def add(name, shape=(1,)):
    return lambda weights: weights.update({name: torch.zeros(shape)})


@pytest.mark.parametrize(
    ('family', 'change', 'message'),
    [
        (
            'FLattenSwin',
            remove('layers.0.blocks.0.attn.scale'),
            r'1 missing \(layers.0.blocks.0.attn.scale\)',
        ),
        ('FLattenPVT', remove('pos_embed3'), r'1 missing \(pos_embed3\)'),
        # That of PVTv2 belongs to the stage, unlike those of our outputs.
        ('FLattenPVTv2', remove('norm3.weight'), r'1 missing \(norm3.weight'),
        ('FLattenPVTv2', add('pos_embed1'), r'1 left over \(pos_embed1\)'),
        ('FLattenCSwin', add('merge4.x'), r'1 left over \(merge4.x\)'),
        ('FLattenSwin', add('absolute_pos_embed'), '1 left over .absolute'),
        (
            'FLattenPVT',
            add('pos_embed2', (1, 100, 9)),
            r'another shape \(pos_embed2 \(1, 100, 9\) for \(1, 144, 16\)\)',
        ),
        (
            'FLattenSwin',
            add('layers.2.blocks.0.attn.dwc.weight', (3, 1, 5, 5)),
            r'1 left over \(layers.2.blocks.0.attn.dwc.weight\)',
        ),
    ],
)
@pytest.mark.parametrize('strict', [True, False])
def test_what_does_not_fit(family, change, message, strict):
    content = authors(family)
    change(content['model'])
    backbone = build(family)
    before = copy.deepcopy(backbone.state_dict())
    with pytest.raises(ValueError, match=message):
        backbone.load_state_dict(content, strict=strict)
    assert is_loaded(backbone, before)


def test_another_arch():
    deeper = dict(SIZES, depths=(1, 2, 3, 1))
    message = r'of depths 1, 2, 2, 1: .* 13 missing \(layers.2.blocks.2'
    with pytest.raises(ValueError, match=message):
        build('FLattenSwin', arch=deeper).load_state_dict(
            authors('FLattenSwin')
        )


@pytest.mark.parametrize(
    'content', [{}, dict(epoch=3), dict(state_dict_ema={}), dict(model=None)]
)
def test_no_tensors(content):
    with pytest.raises(ValueError, match='has nothing for a backbone'):
        load_state_dict(build('FLattenSwin'), content)


def test_one_line_says_what_was_loaded(log):
    content = authors('FLattenSwin')
    backbone = build('FLattenSwin')
    backbone.load_state_dict(content)
    total = len(backbone.state_dict())
    assert log == [
        f'FLattenSwin: loaded {total - 6} of {total} tensors, resized 0; the '
        f'checkpoint is {NAMES["FLattenSwin"]}.'
    ]
    build('FLattenSwin').load_state_dict(backbone.state_dict())
    assert f'loaded {total} of {total} tensors' in log[-1]


def test_averaged_weights_are_mentioned(log):
    content = authors('FLattenCSwin')
    content['state_dict_ema'] = authors('FLattenCSwin', seed=1)['model']
    backbone = build('FLattenCSwin')
    backbone.load_state_dict(content)
    assert is_loaded(backbone, content['model'])
    assert "'state_dict_ema'; those under 'model' are loaded" in log[0]


@pytest.mark.parametrize(
    'duplicate', [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_load_for_themselves(duplicate):
    content = authors('FLattenSwin')
    backbone = duplicate(build('FLattenSwin'))
    backbone.load_state_dict(content)
    assert is_loaded(backbone, content['model'])
