# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Non-maximum suppression, in mmcv's calling convention.

Boxes are ``(N, 4)``: x1, y1, x2, y2 in pixels. The sides of a box are
x2 - x1 + offset and y2 - y1 + offset.
"""

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms as torchvision_nms


def nms(
    bboxes: Tensor, scores: Tensor, iou_threshold: float, offset: int
) -> Tensor:
    """Keep the boxes that no box of higher score overlaps too much.

    A box is dropped if its IoU with a kept box is above ``iou_threshold``.

    Args:
        bboxes: ``(N, 4)``; half precision is computed in float32.
        scores: ``(N,)``.
        iou_threshold: In [0, 1].
        offset: 0, or 1 for boxes that include their last pixel.

    Returns:
        Indices ``(K,)`` of the kept boxes by falling score, int64.
    """
    dtype = torch.promote_types(bboxes.dtype, scores.dtype)
    if offset:
        # torchvision has no offset, so it is added to x2 and y2. For whole
        # pixels that is exact in float64, as is x2 - x1 + 1 in the compiled
        # operator's float32.
        dtype = torch.float64
        bboxes = bboxes.to(dtype) + bboxes.new_tensor([0, 0, offset, offset])
    elif dtype.itemsize < 4:
        dtype = torch.float32
    # Rounded as the compiled operator rounds it, to the precision of the
    # boxes: an IoU of 0.3 is not above a threshold of 0.3.
    threshold = torch.tensor(iou_threshold, dtype=dtype).item()
    # Boxes of equal score are taken in the order of torch's sort, as in the
    # compiled operator. torchvision's sort is stable and keeps that order.
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
    """Soft-NMS (Bodla et al., 2017): lower the scores of overlapping boxes.

    Boxes of equal score are taken in the order of the compiled operator. It
    swaps the best box to the front and moves the last boxes into the gaps
    that dropped boxes leave.

    Args:
        boxes: ``(N, 4)`` on the CPU.
        scores: ``(N,)`` on the CPU.
        dets: ``(N, 5)``; the first K rows are written: the kept boxes and
            their new scores.
        iou_threshold: The IoU from which methods 0 and 1 act.
        sigma: Width of the Gaussian of method 2.
        min_score: Boxes whose score falls below it are dropped.
        method: What happens to the score of an overlapping box: 0 sets it to
            0, 1 scales it by 1 - IoU, 2 scales it by exp(-IoU^2 / sigma).
        offset: 0, or 1 for boxes that include their last pixel.

    Returns:
        Indices ``(K,)`` of the kept boxes in ``boxes``, int64.
    """
    rows = _to_numpy(torch.cat([boxes, scores[:, None].to(boxes)], 1))
    # All in the precision of the boxes, as in the compiled operator.
    iou_threshold, sigma, min_score = rows.dtype.type(
        [iou_threshold, sigma, min_score]
    )
    inds = np.arange(len(rows))
    n, i = len(rows), 0
    while i < n:
        best = i + int(rows[i:n, 4].argmax())
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
    """Group the boxes: each kept box and the boxes that it suppresses.

    Args:
        dets: Boxes and scores, ``(N, 5)``, on the CPU.
        iou_threshold: A kept box suppresses boxes of this IoU or more.

    Returns:
        Indices of the boxes of each group. The groups are in order of falling
        score, and so are the boxes in each.
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
    """The boxes in float32 or float64, since numpy has no bfloat16."""
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
