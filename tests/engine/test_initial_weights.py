# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What a config's training begins with, told and taken out."""

import pytest
from mmengine.config import Config

from ivit.engine import (
    has_initial_weights,
    remove_initial_weights,
    tell_initial_weights,
)

KAIMING = dict(type='Kaiming', layer='Conv2d')
FILE = dict(type='Pretrained', checkpoint='a.pth')


def model(**keys):
    return dict(
        type='Detector',
        backbone=dict(type='IViT', arch='n', **keys),
        heads=[dict(type='Head', init_cfg=KAIMING)],
    )


@pytest.mark.parametrize(
    ('cfg', 'words'),
    [
        (dict(model=model()), 'random'),
        (dict(model=model(init_cfg=KAIMING)), 'random'),
        (dict(model=model(init_cfg=None)), 'random'),
        (dict(), 'random'),
        (
            dict(model=model(init_cfg=FILE)),
            'a.pth in model.backbone, random elsewhere',
        ),
        (
            dict(model=model(init_cfg=[KAIMING, FILE])),
            'a.pth in model.backbone, random elsewhere',
        ),
        (
            dict(model=dict(model(), pretrained='hub://b')),
            'hub://b in model.backbone, random elsewhere',
        ),
        (
            dict(model=dict(model(), teacher=model(init_cfg=FILE))),
            'a.pth in model.teacher.backbone, random elsewhere',
        ),
        (dict(model=dict(model(), init_cfg=FILE)), 'a.pth in model'),
        (dict(model=model(init_cfg=FILE), load_from='c.pth'), 'c.pth'),
    ],
)
def test_initial_weights_are_told_and_removed(cfg, words):
    cfg = Config(cfg)
    assert tell_initial_weights(cfg) == words
    assert has_initial_weights(cfg) == (words != 'random')
    remove_initial_weights(cfg)
    assert tell_initial_weights(cfg) == 'random'
    assert not has_initial_weights(cfg)


def test_other_ways_to_initialise_are_kept():
    cfg = Config(dict(model=model(init_cfg=[KAIMING, FILE])))
    remove_initial_weights(cfg)
    assert cfg.model.backbone.init_cfg == [KAIMING]
    assert cfg.model.heads[0].init_cfg == [KAIMING]
