# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What a training on data of one's own begins with."""

import pytest

from ivit.checkpoints import shipped_weights
from ivit.cli.train import parse_args
from ivit.engine import UsageError, load_config
from ivit.own_data.start import choose_start
from ivit.training import train

DETECTOR = 'mask_rcnn_ivit_n_shapes'
NAME = 'ivit_n_fractals'


def begin(options=None, from_scratch=False):
    cfg = load_config(DETECTOR, options)
    return choose_start(cfg, from_scratch), cfg.model.backbone.get('init_cfg')


def test_a_small_backbone_starts_from_weights_that_come_with_ivit():
    words, init_cfg = begin()
    assert init_cfg == dict(type='Pretrained', checkpoint=NAME)
    assert words == (
        f'initial weights: {NAME} in model.backbone, random elsewhere. '
        f'{NAME} comes with ivit; --from-scratch leaves it out'
    )


@pytest.mark.parametrize('name', shipped_weights())
def test_each_of_them_is_found_by_its_detector(name):
    backbone = name.removesuffix('_fractals')
    cfg = load_config(f'mask_rcnn_{backbone}_shapes')
    assert name in choose_start(cfg, False)
    assert cfg.model.backbone.init_cfg.checkpoint == name


def test_from_scratch_they_are_left_out():
    words, init_cfg = begin(from_scratch=True)
    assert init_cfg is None
    assert words == (
        'initial weights: random. Without --from-scratch the backbone has '
        f'{NAME}'
    )


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(pretrained='my.pth'), 'my.pth in model.backbone'),
        (dict(load_from='whole.pth'), 'whole.pth'),
        ({'model.backbone.arch': 't'}, 'random'),
        ({'model.backbone.landmarks': (5, 5)}, 'random'),
    ],
)
def test_named_weights_and_other_backbones_stay(options, words):
    told, init_cfg = begin(options)
    assert told.startswith(f'initial weights: {words}')
    assert NAME not in told
    assert NAME not in str(init_cfg)


@pytest.mark.parametrize('option', ['pretrained', 'load_from'])
def test_from_scratch_and_a_file_contradict_each_other(option, tmp_path):
    words = f'--{option.replace("_", "-")} names my.pth'
    with pytest.raises(UsageError, match=words):
        train(
            DETECTOR,
            work_dir=tmp_path,
            from_scratch=True,
            **{option: 'my.pth'},
        )


def test_the_command_line_has_the_option():
    assert parse_args([DETECTOR, '--from-scratch']).from_scratch
    assert not parse_args([DETECTOR]).from_scratch
