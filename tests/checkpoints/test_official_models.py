# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The authors' files in whole detectors and classifiers."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import MODELS
from mmengine.runner import load_state_dict
from official_files import (
    FAMILIES,
    OUTPUT_NORMS,
    Detector,
    authors,
    build,
    every_family,
    is_loaded,
)

from ivit.engine import CheckpointCheck


def runner_of(model):
    """What the check asks of a runner."""
    logger = MMLogger.get_current_instance()
    loops = dict(_train_loop=None, _test_loop=None)
    return SimpleNamespace(model=model, logger=logger, **loops)


@every_family
def test_load_from_of_a_detector(family):
    """The tools know a file that is a backbone's alone."""
    content, detector = authors(family), Detector(family)
    runner = runner_of(detector)
    wanted = content['model']
    CheckpointCheck(False).after_load_checkpoint(runner, content)
    target = Detector(family)  # as mmengine goes on
    load_state_dict(target, content['state_dict'])
    assert is_loaded(detector.backbone, wanted)
    assert is_loaded(target.backbone, wanted)


@every_family
def test_a_whole_detector_does_not_take_the_file(family):
    """Nor does mmengine by itself, or a test, or training to be resumed."""
    content = authors(family)
    with pytest.raises(ValueError, match=r'model\.backbone\.init_cfg='):
        load_state_dict(Detector(family), content)
    runner = runner_of(Detector(family))
    with pytest.raises(ValueError, match=r'model\.backbone\.init_cfg='):
        CheckpointCheck(True).after_load_checkpoint(runner, content)


@pytest.mark.parametrize('family', OUTPUT_NORMS)
def test_our_own_classifier(family):
    """Of the output norms it has the last alone."""
    state = build(family, out_indices=(3,)).state_dict()
    backbone = build(family)
    backbone.load_state_dict(state, strict=True)
    assert torch.equal(backbone.norm3.weight, state['norm3.weight'])
    assert (backbone.norm0.weight == 1).all()


def classifier(family):
    return MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(type=family, out_indices=(3,), **FAMILIES[family]),
            neck=dict(type='mmpretrain.GlobalAveragePooling'),
            head=dict(
                type='mmpretrain.LinearClsHead', in_channels=32, num_classes=5
            ),
        )
    )


@every_family
def test_a_whole_classifier_takes_the_file(family):
    content = authors(family)
    weights = content['model']
    whole = classifier(family)
    load_state_dict(whole, content, strict=True)
    model, target = classifier(family), classifier(family)
    check = CheckpointCheck(whole_model=True)
    check.after_load_checkpoint(runner_of(model), content)
    # As EMAHook and mmengine go on.
    load_state_dict(target, content['state_dict'], strict=True)
    for loaded in (whole, model, target):
        assert is_loaded(loaded.backbone, weights)
        weight, bias = loaded.head.fc.parameters()
        assert torch.equal(weight, weights['head.weight'])
        assert torch.equal(bias, weights['head.bias'])
    again = classifier(family)  # from our own
    load_state_dict(again, target.state_dict(), strict=True)
    assert is_loaded(again, target.state_dict())


def test_a_classifier_of_other_classes_says_so():
    content = authors('FLattenPVT')
    content['model']['head.weight'] = torch.zeros(7, 32)
    check = CheckpointCheck(whole_model=True)
    runner = runner_of(classifier('FLattenPVT'))
    with pytest.raises(ValueError, match='head.fc.weight.*7, 32'):
        check.after_load_checkpoint(runner, content)
    CheckpointCheck(False).after_load_checkpoint(runner, content)
