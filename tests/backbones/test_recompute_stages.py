# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Activation checkpointing of chosen stages."""

import pytest
import torch
from flatten_cases import FAMILIES, SIZES, TINY

from ivit import backbones

CASES = {name: (name, TINY[name]) for name in FAMILIES} | {
    'IViT': ('IViT', dict(arch=SIZES)),
    'PlainViT': (
        'PlainViT',
        dict(arch=dict(dim=16, depth=4, num_heads=2), img_size=96),
    ),
}
PARAMS = [pytest.param(*case, id=name) for name, case in CASES.items()]


def step(family, options, with_cp):
    """Gradients, buffers and bytes kept of a training step."""
    torch.manual_seed(0)
    model = getattr(backbones, family)(
        **options, with_cp=with_cp, drop_path_rate=0.5
    ).train()
    x, kept = torch.randn(4, 3, 64, 96), []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.nbytes) or t, lambda t: t
    ):
        outs = model(x)
    sum((out**3).mean() for out in outs).backward()
    return (
        [parameter.grad for parameter in model.parameters()],
        list(model.buffers()),
        sum(kept),
    )


@pytest.mark.parametrize(('family', 'options'), PARAMS)
def test_each_stage_keeps_less_and_changes_nothing(family, options):
    grads, buffers, least = step(family, options, False)
    assert step(family, options, ())[2] == least
    for stages in ((0,), (0, 1), [0, 1, 2], range(4)):
        others, others_buffers, kept = step(family, options, stages)
        torch.testing.assert_close(others, grads)
        torch.testing.assert_close(others_buffers, buffers)
        assert kept < least, stages
        least = kept
    assert step(family, options, True)[2] == least


@pytest.mark.parametrize('with_cp', [(4,), (0, -1), 1, 'all', None, ([0],)])
@pytest.mark.parametrize(('family', 'options'), PARAMS)
def test_stages_that_are_not_there(family, options, with_cp):
    with pytest.raises(ValueError, match='with_cp=.*from 0 to 3'):
        getattr(backbones, family)(**options, with_cp=with_cp)
