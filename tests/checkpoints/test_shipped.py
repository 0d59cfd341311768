# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Weights by name, and files of safetensors."""

import json
from hashlib import sha256

import pytest
import torch
from mmengine.registry import MODELS
from mmengine.runner import load_checkpoint
from safetensors.torch import load_file, save_file

import ivit.backbones  # noqa: F401  # registers them
from ivit.checkpoints import shipped
from ivit.engine import UsageError, check_checkpoint_path, load_config


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return MODELS.build(dict(type='IViT', arch='n'))


@pytest.fixture
def half(backbone):
    return {
        name: value.half() if value.is_floating_point() else value
        for name, value in backbone.state_dict().items()
    }


@pytest.fixture
def folder(tmp_path, monkeypatch, half):
    """A folder of shipped weights with one file, tiny_fractals."""
    path = tmp_path / 'weights' / 'tiny_fractals.safetensors'
    path.parent.mkdir()
    save_file(half, path)
    entry = dict(
        sha256=sha256(path.read_bytes()).hexdigest(),
        backbone=dict(type='IViT', arch='n'),
        config='ivit_n_fractals',
        command='ivit train ivit_n_fractals',
        seed=0,
        samples=20,
        accuracy=1.0,
        made_with='a CPU',
        licence='Apache-2.0',
    )
    index = json.dumps({'tiny_fractals': entry})
    (path.parent / 'index.json').write_text(index)
    monkeypatch.setattr(shipped, 'FOLDER', path.parent)
    shipped.shipped_weights.cache_clear()
    yield path.parent
    shipped.shipped_weights.cache_clear()


def other_backbone(**init_cfg):
    torch.manual_seed(1)
    model = MODELS.build(
        dict(
            type='IViT',
            arch='n',
            init_cfg=dict(type='Pretrained', **init_cfg) if init_cfg else None,
        )
    )
    model.init_weights()
    return model


def test_a_name_goes_where_a_path_goes(folder, half):
    loaded = other_backbone(checkpoint='tiny_fractals').state_dict()
    for name, value in half.items():
        assert torch.equal(loaded[name], value.to(loaded[name].dtype)), name
    check_checkpoint_path('tiny_fractals')


@pytest.mark.parametrize(
    ('settings', 'name'),
    [
        (dict(), 'tiny_fractals'),
        (dict(out_indices=(1, 3), frozen_stages=2), 'tiny_fractals'),
        (dict(drop_path_rate=0.1, init_cfg=None), 'tiny_fractals'),
        (dict(arch='t'), None),
        (dict(landmarks=(5, 5)), None),
        (dict(interaction=None), None),
    ],
)
def test_a_backbone_finds_its_weights(folder, settings, name):
    assert shipped.shipped_for(dict(type='IViT', arch='n') | settings) == name


def test_a_file_of_that_name_comes_first(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'tiny_fractals').write_text('no weights')
    with pytest.raises(ValueError, match='tiny_fractals is not a checkpoint'):
        other_backbone(checkpoint='tiny_fractals')


def test_another_name_is_an_error_that_lists_the_names(folder):
    words = 'tiny_fractal.* Weights that come with ivit: tiny_fractals'
    with pytest.raises(FileNotFoundError, match=words):
        other_backbone(checkpoint='tiny_fractal')
    with pytest.raises(UsageError, match=words):
        check_checkpoint_path('tiny_fractal')


def test_a_changed_file_is_an_error(folder):
    path = folder / 'tiny_fractals.safetensors'
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match='has been changed'):
        other_backbone(checkpoint='tiny_fractals')


def test_a_lost_file_is_an_error(folder):
    (folder / 'tiny_fractals.safetensors').unlink()
    with pytest.raises(ValueError, match='cannot be read.*Install ivit again'):
        check_checkpoint_path('tiny_fractals')


def test_any_file_of_safetensors_loads(tmp_path, half):
    path = tmp_path / 'mine.safetensors'
    save_file(half, path)
    check_checkpoint_path(str(path))
    model = other_backbone()
    load_checkpoint(model, str(path), map_location='cpu')
    name, value = next(iter(half.items()))
    assert torch.equal(model.state_dict()[name], value.float())


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'{}',
        (1 << 40).to_bytes(8, 'little') + b'{}',  # a header that lies
        (2).to_bytes(8, 'little') + b'{}',  # no tensors
    ],
)
def test_a_broken_file_of_safetensors_is_an_error(tmp_path, content):
    path = tmp_path / 'mine.safetensors'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='mine.safetensors is not a checkp'):
        check_checkpoint_path(str(path))
    with pytest.raises(ValueError, match='mine.safetensors is not a checkp'):
        load_checkpoint(other_backbone(), str(path))


def test_a_cut_file_of_safetensors_is_an_error(tmp_path, half):
    path = tmp_path / 'mine.safetensors'
    save_file(half, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match='mine.safetensors is not a checkp'):
        check_checkpoint_path(str(path))


@pytest.mark.parametrize('name', shipped.shipped_weights())
def test_weights_that_come_with_ivit(name):
    weights = shipped.shipped_weights()[name]
    path = shipped.find_shipped(name)
    assert path.stat().st_size <= 3e6
    assert weights.samples > 0 < weights.accuracy <= 100
    cfg = load_config(weights.config)
    assert cfg.randomness.seed == weights.seed
    settings = cfg.model.backbone.to_dict()
    assert shipped.shipped_for(settings) == name
    stored = load_file(path)
    settings['init_cfg'] = dict(type='Pretrained', checkpoint=name)
    model = MODELS.build(settings)
    model.init_weights()
    for key, value in model.state_dict().items():
        assert torch.isfinite(value).all()
        assert torch.equal(stored[key].to(value.dtype), value), key
    floating = {v.dtype for v in stored.values() if v.is_floating_point()}
    assert floating == {torch.float16}
