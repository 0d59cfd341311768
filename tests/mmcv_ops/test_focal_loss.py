# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The focal losses; compiled, they exist on CUDA only."""

import math

import pytest
import torch
from torch.nn import functional as F

ALPHA = 0.3


def sigmoid_reference(x, target, gamma, weight=None):
    one_hot = F.one_hot(target, x.size(1) + 1)[:, :-1].double()
    p = x.sigmoid()
    loss = -ALPHA * one_hot * (1 - p) ** gamma * F.logsigmoid(x)
    loss -= (1 - ALPHA) * (1 - one_hot) * p**gamma * F.logsigmoid(-x)
    if weight is not None:
        loss *= torch.cat([weight.double(), torch.ones(1)])[target][:, None]
    return loss


def softmax_reference(x, target, gamma, weight=None):
    label = target.clamp_min(0)[:, None]
    log_p = x.log_softmax(1).gather(1, label)[:, 0]
    loss = -ALPHA * (1 - log_p.exp()) ** gamma * log_p
    if weight is not None:
        loss = loss * weight.double()[label[:, 0]]
    return loss * (target >= 0)


REFERENCES = {
    'sigmoid_focal_loss': sigmoid_reference,
    'softmax_focal_loss': softmax_reference,
}


def logits_and_target(op):
    torch.manual_seed(0)
    x = torch.randn(12, 5) * 4
    target = torch.randint(0, 5, (12,))
    # Background: the number of classes with sigmoids, -1 with a softmax.
    target[:3] = 5 if op == 'sigmoid_focal_loss' else -1
    return x, target


@pytest.mark.parametrize('op', REFERENCES)
@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
@pytest.mark.parametrize('weighted', [True, False])
def test_loss_and_gradient(ops, op, gamma, reduction, weighted):
    x, target = logits_and_target(op)
    weight = torch.linspace(0.5, 2, 5) if weighted else None
    exact = x.double().requires_grad_()
    x.requires_grad_()
    loss = getattr(ops, op)(x, target, gamma, ALPHA, weight, reduction)
    expected = REFERENCES[op](exact, target, gamma, weight)
    if reduction != 'none':
        expected = expected.sum() / (12 if reduction == 'mean' else 1)
    torch.testing.assert_close(loss, expected.float(), rtol=2e-5, atol=1e-6)
    if reduction == 'none' and op == 'softmax_focal_loss':
        return  # mmcv cannot spread a loss per row over the columns
    loss.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(
        x.grad, exact.grad.float(), rtol=2e-5, atol=1e-6
    )


@pytest.mark.parametrize(('op', 'rows'), [('sigmoid', 1), ('softmax', ALPHA)])
def test_extreme_logits(ops, op, rows):
    x = torch.tensor([[200.0, -200], [-200, 200]], requires_grad=True)
    op = getattr(ops, f'{op}_focal_loss')
    loss = op(x, torch.tensor([1, 1]), 2, ALPHA, None, 'sum')
    loss.backward()
    # The first row is wrong with certainty, and logarithms end at -126 log 2;
    # its two sigmoids are weighted alpha and 1 - alpha, the softmax alpha.
    assert loss.item() == pytest.approx(rows * 126 * math.log(2))
    assert x.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(ops, dtype):
    x, target = logits_and_target('sigmoid_focal_loss')
    x = x.to(dtype)
    expected = sigmoid_reference(x.double(), target, 2)
    with torch.autocast('cpu', dtype):
        loss = ops.sigmoid_focal_loss(x, target, 2, ALPHA, None, 'none')
    assert loss.dtype == dtype
    torch.testing.assert_close(loss, expected.to(dtype))


def test_no_rows(ops):
    x = torch.zeros(0, 5, requires_grad=True)
    target = torch.zeros(0, dtype=torch.long)
    ops.sigmoid_focal_loss(x, target, 2, ALPHA, None, 'sum').backward()
    assert x.grad.shape == (0, 5)
