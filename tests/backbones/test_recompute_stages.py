# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Activation checkpointing of chosen stages."""

import pytest
import torch
from backbone_cases import ALL, images, nano, tiny, variants


def step(model):
    """Gradients, buffers and bytes kept of a training step."""
    torch.manual_seed(0)
    x, kept = images(70, 96), []
    x = x.to(next(model.parameters()).dtype)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.nbytes) or t, lambda t: t
    ):
        outs = model.train()(x)
    sum((out**3).mean() for out in outs).backward()
    return (
        [parameter.grad for parameter in model.parameters()],
        list(model.buffers()),
        sum(kept) - x.nbytes,
    )


@pytest.mark.parametrize(('family', 'options'), variants('LSLS'))
def test_each_stage_keeps_less_and_changes_nothing(family, options):
    options = dict(options, drop_path_rate=0.5)
    grads, buffers, least = step(tiny(family, **options))
    assert step(tiny(family, **options, with_cp=()))[2] == least
    for stages in ((0,), (0, 1), [0, 1, 2], range(4)):
        model = tiny(family, **options, with_cp=stages)
        others, others_buffers, kept = step(model)
        torch.testing.assert_close(others, grads)
        torch.testing.assert_close(others_buffers, buffers)
        assert kept < least, stages
        least = kept
    assert step(tiny(family, **options, with_cp=True))[2] == least


@pytest.mark.parametrize('family', ALL)
def test_all_stages_keep_less_than_half(family):
    plain, saving = (
        nano(family, with_cp=with_cp) for with_cp in (False, True)
    )
    assert step(saving)[2] < 0.5 * step(plain)[2]
