# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The authors' files to classifiers of ours and back."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from official_files import (
    FAMILIES,
    OUTPUT_NORMS,
    Detector,
    authors,
    build,
    every_family,
)
from run_tool import run_tool

from ivit.backbones import IViT
from ivit.checkpoints import from_official, to_official

sys.path.append(str(Path(__file__).resolve().parents[1] / 'backbones'))

from test_flatten_reference import BACKBONES, DATA, fill, image


def classifier(backbone, channels, classes):
    return MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(backbone, out_indices=(3,)),
            neck=dict(type='mmpretrain.GlobalAveragePooling'),
            head=dict(
                type='mmpretrain.LinearClsHead',
                in_channels=channels,
                num_classes=classes,
            ),
        )
    )


def ours(family):
    torch.manual_seed(0)
    return classifier(dict(type=family, **FAMILIES[family]), 32, 5)


def assert_same(found, wanted):
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype, name
        assert torch.equal(found[name], value), name


@every_family
def test_there_and_back(family, tmp_path, monkeypatch, capsys):
    """By the tool, everything under 'model', what ours lacks included."""
    content = authors(family)
    files = [tmp_path / f'{name}.pth' for name in ('theirs', 'ours', 'back')]
    torch.save(content, files[0])
    run_tool(monkeypatch, 'convert_checkpoint', *files[:2])
    said = capsys.readouterr().out
    converted = torch.load(files[1], weights_only=True)
    aside = {
        'FLattenSwin': {
            'layers.2.blocks.1.attn_mask',
            'layers.2.blocks.1.attn.relative_position_index',
        },
        'FLattenPVT': {'norm.weight', 'norm.bias'},
    }.get(family, set())
    assert set(converted['official']) == aside
    assert all(f'for the way back: {name}\n' in said for name in aside)
    lost = 'config, epoch, lr_scheduler, max_accuracy, optimizer'
    assert f'left out: {lost}\n' in said
    model = ours(family)  # names and shapes are just the model's
    torch.nn.Module.load_state_dict(model, converted['state_dict'])
    assert_same(model.state_dict(), converted['state_dict'])
    run_tool(monkeypatch, 'convert_checkpoint', *files[1:], '--to', 'official')
    assert 'left out: meta\n' in capsys.readouterr().out
    back = torch.load(files[2], weights_only=True)
    assert set(back) == {'model'}
    assert_same(back['model'], content['model'])


@every_family
def test_back_and_there(family):
    """A classifier that never was the authors'."""
    content = dict(state_dict=ours(family).state_dict())
    for name, value in content['state_dict'].items():
        content['state_dict'][name] = torch.randn_like(value)
    theirs = to_official(content)
    wanted = {
        name: value.shape
        for name, value in authors(family)['model'].items()
        if 'attn_mask' not in name and 'index' not in name
    }
    assert {k: v.shape for k, v in theirs['model'].items()} == wanted
    assert_same(from_official(theirs)['state_dict'], content['state_dict'])
    if family == 'FLattenPVT':
        assert torch.equal(theirs['model']['norm.weight'], torch.ones(32))
        assert torch.equal(theirs['model']['norm.bias'], torch.zeros(32))


@pytest.mark.parametrize('name', BACKBONES)
def test_logits(name):
    """Of the authors' models, by the converted classifier and back again."""
    facts = json.loads((DATA / f'{name}.json').read_text())
    wanted = np.load(DATA / f'{name}.npz')['logits']
    state = {entry[0]: fill(*entry) for entry in facts['state']}
    content = from_official(dict(model=state))
    channels = facts['stages'][-1]['shape'][1]
    model = classifier(BACKBONES[name], channels, 1000)
    model.load_state_dict(content['state_dict'], strict=True)
    with torch.no_grad():
        picture = image(name, facts['image_size']).double()
        logits = model.double().eval()(picture).numpy()
    assert abs(logits - wanted).max() < 1e-6 * wanted.std()
    assert_same(to_official(content)['model'], state)


@pytest.mark.parametrize(
    'content',
    [
        {},
        dict(epoch=3),
        dict(state_dict=IViT('n').state_dict()),
        dict(state_dict=ours('FLattenSwin').state_dict()),
        dict(state_dict=build('FLattenSwin').state_dict()),
    ],
)
def test_what_is_not_the_authors(content):
    with pytest.raises(ValueError, match="none of the FLatten authors'"):
        from_official(content)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({}, 'it has no tensors'),
        (authors('FLattenPVT'), 'it has block1'),
        (Detector('FLattenPVT').state_dict(), 'it has neck.bias'),
        (build('FLattenSwin').state_dict(), 'it has layers'),
        (
            classifier(dict(type='IViT', arch='n'), 8, 5).state_dict(),
            'it has backbone',
        ),
    ],
)
def test_what_is_no_flatten_classifier(content, message):
    with pytest.raises(ValueError, match=f'not of an ImageCl.*{message}'):
        to_official(content)


@pytest.mark.parametrize('family', OUTPUT_NORMS)
def test_norms_that_the_authors_lack(family):
    def state(**kwargs):
        model = build(family, **kwargs)
        return {f'backbone.{k}': v for k, v in model.state_dict().items()}

    with pytest.raises(ValueError, match='it has backbone.norm0.bias'):
        to_official(state())
    with pytest.raises(ValueError, match='has no backbone.norm3'):
        to_official(state(norm_outputs=False))
    to_official(state(out_indices=(3,)))


def test_nothing_is_overwritten(tmp_path, monkeypatch, capsys):
    path = tmp_path / 'theirs.pth'
    torch.save(authors('FLattenPVT'), path)
    before = path.read_bytes()
    with pytest.raises(SystemExit):
        run_tool(monkeypatch, 'convert_checkpoint', path, path)
    assert f'error: {path} exists' in capsys.readouterr().err
    assert path.read_bytes() == before
