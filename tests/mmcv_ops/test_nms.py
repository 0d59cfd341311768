# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import numpy as np
import pytest
import torch
from mmcv.ops import batched_nms, nms, soft_nms
from op_cases import boxes_of


def reference(boxes, scores, threshold, offset=0):
    """Greedy suppression in float64, in the order of torch's sort."""
    order = scores.sort(descending=True).indices.tolist()
    boxes = boxes.double().numpy()
    kept = []
    for i in order:
        if all(iou(boxes[i], boxes[k], offset) <= threshold for k in kept):
            kept.append(i)
    return kept


def iou(a, b, offset):
    def area(box):
        sides = box[2:] - box[:2] + offset
        return sides.clip(0).prod()

    inner = np.concatenate(
        [np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])]
    )
    return area(inner) / (area(a) + area(b) - area(inner))


@pytest.mark.parametrize('offset', [0, 1])
def test_equal_scores(offset):
    rng = np.random.default_rng(3)
    boxes = torch.from_numpy(boxes_of(rng, 150))
    scores = torch.from_numpy(rng.integers(0, 4, 150) / 4).float()
    dets, inds = nms(boxes, scores, 0.5, offset=offset)
    assert inds.tolist() == reference(boxes, scores, 0.5, offset)
    assert len(inds) < 150
    assert torch.equal(dets, torch.cat([boxes, scores[:, None]], 1)[inds])


def test_offset_decides():
    # IoU 0.25 with x2 - x1, 4/9 = 0.44 with x2 - x1 + 1.
    boxes = torch.tensor([[0.0, 0, 2, 2], [0.0, 0, 1, 1]])
    scores = torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.3, offset=0)[1].tolist() == [0, 1]
    assert nms(boxes, scores, 0.3, offset=1)[1].tolist() == [0]


def test_numpy_in_numpy_out():
    boxes = np.array([[0, 0, 9, 9], [0, 0, 9, 8]], np.float32)
    dets, inds = nms(boxes, np.array([0.1, 0.2], np.float32), 0.5)
    assert isinstance(dets, np.ndarray)
    assert inds.tolist() == [1]


def test_classes_do_not_suppress_each_other():
    boxes = torch.tensor([[0.0, 0, 9, 9]]).repeat(4, 1)
    scores = torch.tensor([0.4, 0.3, 0.2, 0.1])
    cfg = {'type': 'nms', 'iou_threshold': 0.5}
    idxs = torch.tensor([0, 1, 0, 1])
    assert batched_nms(boxes, scores, idxs, cfg)[1].tolist() == [0, 1]
    assert batched_nms(boxes, scores, idxs, cfg, True)[1].tolist() == [0]


def test_soft_nms_lowers_scores():
    # IoU 0.5, so the linear method halves the second score.
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]])
    dets, inds = soft_nms(boxes, torch.tensor([0.9, 0.8, 0.5]), 0.3)
    assert inds.tolist() == [0, 2, 1]
    torch.testing.assert_close(dets[:, 4], torch.tensor([0.9, 0.5, 0.4]))


@pytest.mark.parametrize(
    'dtype', [torch.float64, torch.float16, torch.bfloat16]
)
def test_other_precisions(ops, dtype):
    rng = np.random.default_rng(4)
    boxes = torch.from_numpy(boxes_of(rng, 100)).to(dtype)
    scores = torch.from_numpy(rng.permutation(100) / 100).to(dtype)
    dets, inds = ops.nms(boxes, scores, 0.5)
    assert inds.tolist() == reference(boxes, scores, 0.5)
    assert dets.dtype == dtype
    dets, inds = ops.soft_nms(boxes, scores, 0.5, method='naive')
    hard = reference(boxes, scores, 0.5)
    assert dets.dtype == dtype
    assert set(inds.tolist()) == {i for i in hard if scores[i] >= 1e-3}


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_autocast(ops, dtype):
    rng = np.random.default_rng(5)
    boxes = torch.from_numpy(boxes_of(rng, 100))
    scores = torch.from_numpy(rng.uniform(0, 1, 100)).to(dtype)
    with torch.autocast('cpu', dtype):
        _, inds = ops.nms(boxes, scores, 0.5)
    assert inds.tolist() == reference(boxes, scores, 0.5)
