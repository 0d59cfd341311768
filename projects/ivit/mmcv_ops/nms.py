# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Non-maximum suppression, in mmcv's calling convention.

Boxes are ``(N, 4)``, x1 y1 x2 y2 in pixels, sides x2 - x1 + offset.
"""

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms as torchvision_nms


def nms(
    bboxes: Tensor, scores: Tensor, iou_threshold: float, offset: int
) -> Tensor:
    """Indices of the boxes kept, by falling score.

    A box goes when its IoU with a kept one is above ``iou_threshold``.

    Args:
        bboxes: ``(N, 4)``; half precision is computed in float32.
        scores: ``(N,)``.
        iou_threshold: In [0, 1].
        offset: 0, or 1 for boxes that include their last pixel.

    Returns:
        ``(K,)``, int64.
    """
    dtype = torch.promote_types(bboxes.dtype, scores.dtype)
    if offset:
        # Widening x2 and y2 in float64 is exact, as x2 - x1 + 1 is for
        # whole pixels in the compiled op's float32.
        dtype = torch.float64
        bboxes = bboxes.to(dtype) + bboxes.new_tensor([0, 0, offset, offset])
    elif dtype.itemsize < 4:
        dtype = torch.float32
    # The compiled op compares in the boxes' precision: an IoU of 0.3 is not
    # above a threshold of 0.3.
    threshold = torch.tensor(iou_threshold, dtype=dtype).item()
    # Equal scores come in the order of torch's plain sort, as compiled;
    # torchvision's own sort, a stable one, then leaves them so.
    order = scores.sort(descending=True).indices
    kept = torchvision_nms(
        bboxes.to(dtype)[order], scores.to(dtype)[order], threshold
    )
    return order[kept]


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS (Bodla et al., 2017): overlap lowers scores, step by step.

    Equal scores are taken in the compiled op's order, which comes from
    swapping the best box to the front and the last box into gaps.

    Args:
        boxes: ``(N, 4)`` on the CPU.
        scores: ``(N,)`` on the CPU.
        dets: ``(N, 5)``, written: the boxes kept and their new scores.
        iou_threshold: Where methods 0 and 1 begin to act.
        sigma: Width of method 2.
        min_score: Boxes whose score falls below it are dropped.
        method: 0 drops, 1 scales by 1 - IoU, 2 by exp(-IoU^2 / sigma).
        offset: 0, or 1 for boxes that include their last pixel.

    Returns:
        ``(K,)``, int64: indices of the first K rows of ``dets``.
    """
    rows = _to_numpy(torch.cat([boxes, scores[:, None].to(boxes)], 1))
    # Threshold, width and limit in the boxes' precision, as compiled.
    iou_threshold, sigma, min_score = rows.dtype.type(
        [iou_threshold, sigma, min_score]
    )
    inds = np.arange(len(rows))
    n, i = len(rows), 0
    while i < n:
        best = i + rows[i:n, 4].argmax()
        rows[[i, best]], inds[[i, best]] = rows[[best, i]], inds[[best, i]]
        i += 1
        iou = _iou(rows[i - 1], rows[i:n], offset)
        if method == 0:
            rows[i:n, 4][iou >= iou_threshold] = 0
        elif method == 1:
            rows[i:n, 4] *= np.where(iou >= iou_threshold, 1 - iou, 1)
        else:
            rows[i:n, 4] *= np.exp(-(iou * iou) / sigma)
        alive = ~(rows[i:n, 4] < min_score)
        kept = i + np.count_nonzero(alive)
        gaps = i + np.flatnonzero(~alive[: kept - i])
        tail = kept + np.flatnonzero(alive[kept - i :])[::-1]
        rows[gaps], inds[gaps] = rows[tail], inds[tail]
        n = kept
    dets[:n] = torch.from_numpy(rows[:n])
    return torch.from_numpy(inds[:n])


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Groups of boxes: each one kept, then those it suppresses.

    Args:
        dets: ``(N, 5)`` on the CPU, boxes and scores.
        iou_threshold: Boxes of this IoU or more are suppressed.

    Returns:
        Indices, each group and the groups by falling score.
    """
    rows = _to_numpy(dets)
    left = dets[:, 4].sort(descending=True).indices.numpy()
    groups = []
    while len(left):
        iou = _iou(rows[left[0]], rows[left], 0)
        matched = iou >= rows.dtype.type(iou_threshold)
        matched[0] = True  # a box without area has no IoU with itself
        groups.append(left[matched].tolist())
        left = left[~matched]
    return groups


def _to_numpy(boxes: Tensor) -> np.ndarray:
    """A copy that numpy can hold: it knows no bfloat16."""
    boxes = boxes.detach()
    return boxes.to(torch.promote_types(boxes.dtype, torch.float32)).numpy()


def _iou(box: np.ndarray, boxes: np.ndarray, offset: int) -> np.ndarray:
    """IoU of one box with ``(N, 4+)`` others; NaN where both are empty."""
    size = boxes[:, 2:4] - boxes[:, :2] + offset
    overlap = np.minimum(box[2:4], boxes[:, 2:4])
    overlap = overlap - np.maximum(box[:2], boxes[:, :2]) + offset
    overlap = overlap.clip(0)
    inter = overlap[:, 0] * overlap[:, 1]
    area = (box[2] - box[0] + offset) * (box[3] - box[1] + offset)
    with np.errstate(invalid='ignore', divide='ignore'):
        return inter / (area + size[:, 0] * size[:, 1] - inter)
