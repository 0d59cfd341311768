# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""One variable for the backbone's weights, in every config."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from ivit.engine import UsageError, load_config

CONFIGS = Path(__file__).parents[2] / 'configs'
FILE = 'https://example.org/weights-0a1b2c3d.pth'
WANTED = dict(type='Pretrained', checkpoint=FILE)


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')


def load(path, **options):
    return load_config(path, options or None)


@pytest.fixture
def mine(tmp_path):
    """A config with this text."""

    def write(text):
        path = tmp_path / 'mine.py'
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    'path', sorted(CONFIGS.glob('*.py')), ids=lambda path: path.stem
)
def test_every_config_takes_it(path):
    cfg = load(path, pretrained=FILE)
    assert cfg.model.backbone.init_cfg == WANTED
    assert 'pretrained' not in cfg


def test_a_config_of_ones_own(mine, tmp_path):
    base = CONFIGS / 'mask_rcnn_ivit_n_shapes.py'
    path = mine(f'_base_ = {str(base)!r}\npretrained = {FILE!r}\n')
    cfg = load(path)
    assert cfg.model.backbone.init_cfg == WANTED
    # What a run saves says the same to these tools and to others.
    cfg.dump(tmp_path / 'saved.py')
    assert Config.fromfile(tmp_path / 'saved.py').model == cfg.model
    assert load(tmp_path / 'saved.py').model == cfg.model
    assert 'init_cfg' not in load(path, pretrained=None).model.backbone
    other = load(path, pretrained='~/other.pth').model.backbone.init_cfg
    assert other == dict(type='Pretrained', checkpoint='~/other.pth')


def test_beside_other_initialisation(mine):
    text = "model = dict(backbone=dict(init_cfg=dict(type='Kaiming')))"
    init_cfg = load(mine(text), pretrained=FILE).model.backbone.init_cfg
    assert init_cfg == [dict(type='Kaiming'), WANTED]


def test_a_variable_as_in_mmdets_configs(mine):
    text = (
        f'pretrained = {FILE!r}\nmodel = dict(backbone=dict(init_cfg=dict('
        "type='Pretrained', checkpoint=pretrained)))"
    )
    assert load(mine(text)).model.backbone.init_cfg == WANTED
    message = f"pretrained='x.pth', but .*init_cfg names '{FILE}'"
    with pytest.raises(UsageError, match=message):
        load(mine(text), pretrained='x.pth')


def test_beside_half_an_init_cfg(mine):
    text = "model = dict(backbone=dict(init_cfg=dict(type='Pretrained')))"
    with pytest.raises(UsageError, match='init_cfg names None'):
        load(mine(text), pretrained='x.pth')


@pytest.mark.parametrize('text', ['a = 1', "model = dict(type='MLP')"])
def test_no_backbone(mine, text):
    with pytest.raises(UsageError, match=r"'x.pth' is for model\.backbone"):
        load(mine(text), pretrained='x.pth')


@pytest.mark.parametrize('wrong', [3, ''])
def test_no_path(mine, wrong):
    with pytest.raises(UsageError, match='pretrained=.* has to be a path'):
        load(mine('model = dict(backbone=dict())'), pretrained=wrong)


@pytest.mark.parametrize(
    ('scope', 'name'),
    [
        ('mmdet', 'mask_rcnn_ivit_n_shapes'),
        ('mmseg', 'sem_fpn_ivit_n_shapes'),
        ('mmdet', 'mask_rcnn_flatten_swin_n_shapes'),
        ('mmdet', 'mask_rcnn_flatten_pvt_v2_n_shapes'),
    ],
)
@pytest.mark.parametrize('whole', [True, False])
def test_weights_of_a_classifier_arrive(
    scope, name, whole, tmp_path, monkeypatch
):
    """By a path from the home folder, from a classifier or a backbone."""
    monkeypatch.setenv('HOME', str(tmp_path))
    path = CONFIGS / f'{name}.py'
    cfg = load(path, pretrained='~/weights.pth')
    init_default_scope(scope)
    source = nn.Module()
    source.backbone = MODELS.build(
        {**load(path).model.backbone, 'out_indices': (3,)}
    )
    source.head = nn.Linear(2, 2)
    for parameter in source.parameters():
        nn.init.normal_(parameter)
    source = source if whole else source.backbone
    torch.save({'state_dict': source.state_dict()}, tmp_path / 'weights.pth')
    model = MODELS.build(cfg.model)
    model.init_weights()
    loaded = model.backbone.state_dict()
    for parameter, value in (
        (source.backbone if whole else source).state_dict().items()
    ):
        assert torch.equal(loaded[parameter], value), parameter
