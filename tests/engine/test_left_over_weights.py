# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Weights of a checkpoint that the model has no place for are told."""

from types import SimpleNamespace

import pytest
from mmengine.config import ConfigDict
from mmengine.runner import BaseLoop
from torch import nn

from ivit.engine import (
    CheckpointCheck,
    UsageError,
    load_whole,
    merge_data_preprocessor,
)


class Loop(BaseLoop):
    """A loop that is built."""

    def __init__(self):
        pass

    def run(self):
        pass


def make_model(**heads):
    model = nn.Module()
    model.backbone = nn.Linear(2, 2)
    for name, head in heads.items():
        model.add_module(name, head)
    return model


@pytest.fixture
def checkpoint():
    whole = make_model(box=nn.Linear(2, 1), mask=nn.Linear(2, 1))
    return dict(state_dict=whole.state_dict())


def run_hook(model, checkpoint, test):
    warnings = []
    runner = SimpleNamespace(
        model=model,
        logger=SimpleNamespace(warning=warnings.append),
        _test_loop=Loop() if test else None,
        _train_loop=None if test else Loop(),
    )
    CheckpointCheck(True).after_load_checkpoint(runner, checkpoint)
    return warnings


def test_a_head_that_was_left_out(checkpoint):
    model = make_model(box=nn.Linear(2, 1))
    (told,) = run_hook(model, checkpoint, test=True)
    assert 'mask.weight, mask.bias' in told
    with pytest.raises(UsageError, match='mask.weight'):
        run_hook(model, checkpoint, test=False)
    with pytest.raises(UsageError, match='mask.weight'):
        load_whole(model, checkpoint)


def test_all_weights_have_a_place(checkpoint):
    model = make_model(box=nn.Linear(2, 1), mask=nn.Linear(2, 1))
    assert not run_hook(model, checkpoint, test=True)
    load_whole(model, checkpoint)


def test_the_preprocessor_at_the_top_level():
    cfg = ConfigDict(model=dict(), data_preprocessor=dict(mean=[1]))
    merge_data_preprocessor(cfg)
    assert cfg.model.data_preprocessor == dict(mean=[1])
    cfg = ConfigDict(
        model=dict(data_preprocessor=dict(mean=[2])),
        data_preprocessor=dict(mean=[1]),
    )
    merge_data_preprocessor(cfg)
    assert cfg.model.data_preprocessor == dict(mean=[2])
