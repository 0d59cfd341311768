# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Non-maximum suppression by groups, rounded as mmdet rounds it."""

import torch
from torch import Tensor

from .operators import nms_padded


def suppress(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    score_threshold: float,
    max_out: int,
) -> tuple[Tensor, Tensor]:
    """The best boxes of every image after suppression by groups.

    mmdet moves the groups apart by more than the image and suppresses all
    together. Far from the origin float32 has steps of a hundredth of a pixel,
    which decides some overlaps; so boxes are moved here as well, although
    groups are apart anyway.

    Args:
        boxes: ``(B, G, N, 4)``, x1, y1, x2, y2 in pixels.
        scores: ``(B, G, N)``; minus infinity where there is no box.
        iou_threshold: In [0, 1].
        score_threshold: Boxes of this score or less are dropped first.
        max_out: Boxes to return of an image, K.

    Returns:
        Scores ``(B, K)`` and places ``(B, K)`` in the G N boxes of the image,
        as :func:`.nms_padded`.
    """
    there = (scores > score_threshold)[..., None]
    span = boxes.where(there, 0).amax((1, 2, 3), keepdim=True) + 1
    groups = torch.arange(
        boxes.shape[1], dtype=boxes.dtype, device=boxes.device
    )
    return nms_padded(
        boxes + groups[:, None, None] * span,
        scores,
        iou_threshold,
        score_threshold,
        max_out,
    )
