# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Boxes of batches: decoding, dropping small ones, picking some."""

import math

import torch
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from torch import Tensor, nn

from ..attention.symbolic import divide
from .supported import require_class


class BoxDecoder(nn.Module):
    """Moves and scales boxes by what a head predicts (Girshick et al., 2014).

    Args:
        coder: The head's ``DeltaXYWHBBoxCoder``.

    Raises:
        ValueError: If it is of another class.
    """

    means: Tensor
    stds: Tensor

    def __init__(self, coder: DeltaXYWHBBoxCoder) -> None:
        super().__init__()
        require_class(coder, (DeltaXYWHBBoxCoder,), 'bbox_coder')
        means, stds = torch.tensor([coder.means, coder.stds])
        self.register_buffer('means', means, persistent=False)
        self.register_buffer('stds', stds, persistent=False)
        self.clip_border = coder.clip_border
        self.max_shift = coder.ctr_clamp if coder.add_ctr_clamp else None
        # mmdet's bound of widths and heights, relative to the box.
        self.max_log_scale = abs(math.log(16 / 1000))

    def forward(
        self, boxes: Tensor, deltas: Tensor, hw_shape: tuple[int, int]
    ) -> Tensor:
        """Apply deltas.

        Args:
            boxes: ``(..., 4)``, x1, y1, x2, y2 in pixels.
            deltas: ``(..., 4)``: shifts of the centre in widths and heights,
                logarithms of scales.
            hw_shape: Height and width of the images, in pixels.

        Returns:
            ``(..., 4)``, within the images if the coder clips.
        """
        deltas = deltas * self.stds + self.means
        shift, log_scale = deltas.split(2, -1)
        top_left, bottom_right = boxes.split(2, -1)
        size = bottom_right - top_left
        shift = size * shift
        lowest: float | None = -self.max_log_scale
        if self.max_shift is not None:
            shift = shift.clamp(-self.max_shift, self.max_shift)
            lowest = None  # as mmdet has it for YOLOF
        log_scale = log_scale.clamp(lowest, self.max_log_scale)
        centre = (top_left + bottom_right) * 0.5 + shift
        half = size * log_scale.exp() * 0.5
        boxes = torch.cat([centre - half, centre + half], -1)
        if not self.clip_border:
            return boxes
        height, width = (
            torch.full((1,), side, dtype=boxes.dtype, device=boxes.device)
            for side in hw_shape
        )
        limits = torch.cat([width, height, width, height])
        return boxes.clamp(min=0).minimum(limits)


def drop_small(scores: Tensor, boxes: Tensor, min_size: float) -> Tensor:
    """Scores with minus infinity for small boxes.

    Args:
        scores: ``(...)``.
        boxes: ``(..., 4)``.
        min_size: Boxes that are not wider and higher than this many pixels
            are dropped. A negative number drops none.

    Returns:
        ``(...)``.
    """
    if min_size < 0:
        return scores
    size = boxes[..., 2:] - boxes[..., :2]
    return scores.where((size > min_size).all(-1), -torch.inf)


def take(rows: Tensor, index: Tensor) -> Tensor:
    """Rows of each image, zero where there is none.

    Args:
        rows: ``(B, N, C)``.
        index: ``(B, K)``, -1 for no row.

    Returns:
        ``(B, K, C)``.
    """
    picked = rows.gather(
        1, index.clamp(min=0)[..., None].expand(-1, -1, rows.shape[2])
    )
    return picked * (index >= 0)[..., None]


def split_index(index: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """Groups and places of what ``nms_padded`` returns.

    Args:
        index: ``(B, K)``, place in all groups; -1 for no box.
        num: Boxes of a group.

    Returns:
        Groups and places in the group, both ``(B, K)``, -1 for no box.
    """
    none = index < 0
    index = index.clamp(min=0)
    group, place = divide(index, num)
    return group.masked_fill(none, -1), place.masked_fill(none, -1)
