# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The FLatten families against the authors' models, from files like theirs.

tests/data/flatten/README.md says what the stored values are.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from mmengine.runner import load_checkpoint
from yacs.config import CfgNode

import ivit  # noqa: F401

DATA = Path(__file__).resolve().parents[1] / 'data/flatten'
BACKBONES = {
    'flatten_swin_t_224': dict(type='FLattenSwin', arch='t'),
    'flatten_pvt_t_224': dict(type='FLattenPVT', arch='t'),
    'flatten_pvt_v2_b0_224': dict(type='FLattenPVTv2', arch='b0'),
    'flatten_cswin_t_224': dict(type='FLattenCSwin', arch='t'),
}
# Error over the standard deviation of what is compared.
TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-6}


def normal(seed, shape):
    """Normal numbers that follow from a text."""
    numbers = np.random.RandomState(zlib.crc32(seed.encode()))
    return numbers.standard_normal(shape).astype(np.float32)


def fill(name, shape, kind):
    """The value of an entry of the state dict behind the references."""
    if kind == 'buffer':
        return torch.zeros(shape)
    values = normal(name, shape)
    if name.endswith(('relative_position_bias_table', '.scale')):
        values *= np.float32(0.5)
    elif 'positional_encoding' in name or 'pos_embed' in name:
        values *= np.float32(0.2)
    elif name.endswith('bias'):
        values *= np.float32(0.1)
    elif len(shape) == 1:  # the weight of a norm
        values = 1 + np.float32(0.1) * values
    else:
        values /= np.sqrt(np.float32(np.prod(shape[1:])))
    return torch.from_numpy(values)


def image(name, size):
    """The image behind the references, ``(1, 3, H, W)``."""
    return torch.from_numpy(normal(f'input:{name}', (1, 3, *size)))


def sampled(name, stage, numel):
    """Flat indices of the values that are stored of a map."""
    seed = zlib.crc32(f'{name}:{stage}'.encode())
    return np.random.RandomState(seed).randint(0, numel, 256)


@pytest.fixture(scope='module', params=BACKBONES)
def reference(request, tmp_path_factory):
    """Name, facts, outputs, and a file as the authors' training saves it."""
    name = request.param
    facts = json.loads((DATA / f'{name}.json').read_text())
    config = CfgNode(dict(MODEL=dict(NAME=name, DEPTHS=[2, 2], RESUME=None)))
    config.freeze()
    path = tmp_path_factory.mktemp('checkpoints') / f'{name}.pth'
    content = dict(
        model={entry[0]: fill(*entry) for entry in facts['state']},
        optimizer=dict(state={}, param_groups=[dict(lr=1e-3, params=[0])]),
        lr_scheduler=dict(t_initial=300),
        max_accuracy=82.1,
        epoch=299,
        config=config,
    )
    torch.save(content, path)
    yield name, facts, dict(np.load(DATA / f'{name}.npz')), str(path)
    path.unlink()


@torch.no_grad()
def run(model, name, facts, dtype):
    return model.eval().to(dtype)(image(name, facts['image_size']).to(dtype))


@pytest.mark.parametrize('dtype', TOLERANCES)
def test_maps(reference, dtype):
    name, facts, outputs, path = reference
    config = dict(BACKBONES[name])
    if config['type'] in ('FLattenSwin', 'FLattenCSwin'):
        config['norm_outputs'] = False
    model = MODELS.build(config)
    load_checkpoint(model, path, strict=True)
    maps = run(model, name, facts, dtype)
    for i, (stage, features) in enumerate(
        zip(facts['stages'], maps, strict=True)
    ):
        assert list(features.shape) == stage['shape']
        values = features.double().numpy().ravel()
        errors = values[sampled(name, i, values.size)] - outputs[f'stage{i}']
        assert abs(errors).max() < TOLERANCES[dtype] * stage['std']
        # Of all values, not those stored alone.
        for found, key in (values.mean(), 'mean'), (values.std(ddof=1), 'std'):
            assert abs(found - stage[key]) < TOLERANCES[dtype] * stage['std']


@pytest.mark.parametrize('dtype', TOLERANCES)
def test_logits_of_a_classifier_from_the_whole_file(reference, dtype):
    name, facts, outputs, path = reference
    channels = facts['stages'][-1]['shape'][1]
    model = MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(BACKBONES[name], out_indices=(3,)),
            neck=dict(type='mmpretrain.GlobalAveragePooling'),
            head=dict(
                type='mmpretrain.LinearClsHead',
                in_channels=channels,
                num_classes=1000,
            ),
        )
    )
    load_checkpoint(model, path, strict=True)
    logits = run(model, name, facts, dtype).numpy()
    error = abs(logits - outputs['logits']).max()
    assert error < TOLERANCES[dtype] * outputs['logits'].std()
