# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import copy
import pickle

import pytest
import torch
from mmengine.runner import load_checkpoint, load_state_dict
from torch import nn

from ivit.checkpoints import register_strict_loading


class Backbone(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.body = nn.Linear(3, width)
        self.norm0 = nn.LayerNorm(width)
        register_strict_loading(
            self, may_be_missing=r'norm\d\.', may_be_left_over=r'head\.'
        )


class Detector(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.backbone = Backbone(width)
        self.neck = nn.Linear(width, 2)


WAYS = {
    'torch': lambda model, state: model.load_state_dict(state),
    'mmengine': load_state_dict,
}


@pytest.mark.parametrize('load', WAYS.values(), ids=WAYS)
def test_a_fitting_checkpoint_loads(load):
    source, target = Detector(), Detector()
    load(target, source.state_dict())
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value)


@pytest.mark.parametrize('load', WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda s: s.pop('backbone.body.bias'), r'1 missing \(body.bias\)'),
        (lambda s: s.update({'backbone.x': s['neck.bias']}), r'left over \(x'),
        (
            lambda s: s.update({'backbone.body.bias': torch.zeros(5)}),
            r'another shape \(body.bias \(5,\) for \(4,\)\)',
        ),
    ],
)
def test_anything_else_is_an_error_and_loads_nothing(load, change, message):
    target = Detector()
    before = {k: v.clone() for k, v in target.backbone.state_dict().items()}
    state = Detector().state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        load(target, state)
    for name, value in before.items():
        assert torch.equal(target.backbone.state_dict()[name], value)


def test_known_differences_pass():
    state = Backbone().state_dict()
    state.pop('norm0.weight')
    state['head.weight'] = torch.zeros(1)
    load_state_dict(Backbone(), state)


def test_torchs_strict_false_does_not_lift_it():
    with pytest.raises(ValueError, match='2 missing'):
        Backbone().load_state_dict({}, strict=False)


def test_long_lists_are_shortened():
    state = Backbone().state_dict()
    state.update({f'extra{i:02}': torch.zeros(1) for i in range(30)})
    with pytest.raises(ValueError, match=r'30 left over .*and 24 more'):
        load_state_dict(Backbone(), state)


def test_load_from_of_a_detector(tmp_path):
    path = tmp_path / 'detector.pth'
    torch.save({'state_dict': Detector(8).state_dict()}, path)
    with pytest.raises(ValueError, match='does not fit this Backbone'):
        load_checkpoint(Detector(), str(path))


@pytest.mark.parametrize(
    'duplicate', [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_check_for_themselves(duplicate):
    backbone = Backbone()
    other = duplicate(backbone)
    other.extra = nn.Linear(1, 1)
    backbone.load_state_dict(Backbone().state_dict())
    with pytest.raises(ValueError, match='2 missing .extra'):
        other.load_state_dict(Backbone().state_dict(), strict=False)


@pytest.mark.parametrize('load', WAYS.values(), ids=WAYS)
def test_a_backbone_takes_its_part_of_a_whole_model(load):
    source, target = Detector(), Backbone()
    load(target, source.state_dict())
    for name, value in source.backbone.state_dict().items():
        assert torch.equal(target.state_dict()[name], value)
    with pytest.raises(ValueError, match=r'another shape \(body.bias'):
        load(target, Detector(8).state_dict())
