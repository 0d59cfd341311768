# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The stand-in on CUDA against the stand-in on the CPU."""

import numpy as np
import pytest
import torch
from op_cases import boxes_of

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='needs CUDA'
)


@pytest.mark.parametrize('offset', [0, 1])
def test_nms(ops, offset):
    rng = np.random.default_rng(6)
    boxes = torch.from_numpy(boxes_of(rng, 300))
    scores = torch.from_numpy(rng.permutation(300) / 300).float()
    _, expected = ops.nms(boxes, scores, 0.5, offset=offset)
    _, inds = ops.nms(boxes.cuda(), scores.cuda(), 0.5, offset=offset)
    assert inds.tolist() == expected.tolist()


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
@pytest.mark.parametrize('ratio', [0, 2])
def test_roi_align(ops, dtype, ratio):
    torch.manual_seed(2)
    x = torch.randn(2, 3, 20, 24).to(dtype)
    rois = torch.tensor([[0.0, 3, 4, 40, 30], [1, -5, 0, 12, 60]]).to(dtype)
    results = []
    for device in ('cpu', 'cuda'):
        leaf = x.to(device).requires_grad_()
        output = ops.roi_align(leaf, rois.to(device), 7, 0.5, ratio)
        output.square().sum().backward()
        results.append((output.detach().cpu(), leaf.grad.cpu()))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize('op', ['sigmoid_focal_loss', 'softmax_focal_loss'])
def test_focal_loss(ops, op):
    torch.manual_seed(3)
    x, target = torch.randn(50, 8), torch.randint(0, 8, (50,))
    results = []
    for device in ('cpu', 'cuda'):
        leaf = x.to(device).requires_grad_()
        loss = getattr(ops, op)(leaf, target.to(device))
        loss.backward()
        results.append((loss.detach().cpu(), leaf.grad.cpu()))
    torch.testing.assert_close(*results)
