# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The best anchors of every level of a dense head, a fixed number of them."""

from typing import NamedTuple

import torch
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from torch import Tensor, nn
from torch.nn import functional as F

from ..attention.symbolic import divide
from .boxes import BoxDecoder, drop_small
from .supported import positive_number, require, require_class


class Candidates(NamedTuple):
    """K boxes of each of L levels.

    Attributes:
        scores: ``(B, L, K)``; minus infinity where a level has fewer anchors
            than K or a box is too small.
        labels: ``(B, L, K)``, int64.
        boxes: ``(B, L, K, 4)``, x1, y1, x2, y2 in pixels.
    """

    scores: Tensor
    labels: Tensor
    boxes: Tensor


class AnchorCandidates(nn.Module):
    """Runs a dense head and decodes its ``nms_pre`` best anchors by level.

    The head's maps keep their layout, and anchors are computed only for what
    is kept: of a million anchors that is a thousand.

    Args:
        head: An ``RPNHead`` or a ``RetinaHead`` with its ``test_cfg``.

    Raises:
        ValueError: If anchors, box coder or settings are of another kind than
            the graph has.
    """

    def __init__(self, head: AnchorHead) -> None:
        super().__init__()
        anchors = head.prior_generator
        require_class(anchors, (AnchorGenerator,), 'anchor_generator')
        require(
            not getattr(head.loss_cls, 'custom_cls_channels', False),
            f'scores by {type(head.loss_cls).__name__}',
        )
        self.head = head
        self.decoder = BoxDecoder(head.bbox_coder)
        self.num = positive_number(head.test_cfg, 'nms_pre')
        self.min_size = head.test_cfg.get('min_bbox_size', -1)
        self.num_levels = anchors.num_levels
        for level, base in enumerate(anchors.base_anchors):
            self.register_buffer(f'base_{level}', base, persistent=False)
        self.strides = anchors.strides

    def forward(
        self, maps: tuple[Tensor, ...], hw_shape: tuple[int, int]
    ) -> Candidates:
        """The best anchors of all levels.

        Args:
            maps: Of the neck, ``(B, C, H_l, W_l)``.
            hw_shape: Height and width of the images before padding.

        Returns:
            See :class:`Candidates`.
        """
        levels = [
            self._level(level, logits, deltas, hw_shape)
            for level, (logits, deltas) in enumerate(
                zip(*self.head(maps), strict=True)
            )
        ]
        scores, labels, boxes = (
            torch.stack(each, 1) for each in zip(*levels, strict=True)
        )
        return Candidates(scores, labels, boxes)

    def _level(
        self,
        level: int,
        logits: Tensor,
        deltas: Tensor,
        hw_shape: tuple[int, int],
    ) -> Candidates:
        """``(B, A C, H, W)`` and ``(B, A 4, H, W)`` to K boxes."""
        base = self.get_buffer(f'base_{level}')
        width, area = logits.shape[3], logits.shape[2] * logits.shape[3]
        logits = logits.unflatten(1, (len(base), -1)).flatten(3)
        if not self.head.use_sigmoid_cls:
            logits = logits.softmax(2)[:, :, :-1]
        num_classes = logits.shape[2]
        # A small image has fewer than K.
        flat = F.pad(logits.flatten(1), (0, self.num), value=-torch.inf)
        scores, index = flat.topk(self.num)
        missing = scores.isneginf()
        index = index.masked_fill(missing, 0)
        if self.head.use_sigmoid_cls:  # it keeps the order
            scores = scores.sigmoid().masked_fill(missing, -torch.inf)
        kind, place = divide(index, area)
        anchor, label = divide(kind, num_classes)
        row, column = divide(place, width)
        offset = torch.arange(4, device=index.device) * area
        where = (anchor * 4 * area + place)[..., None] + offset
        picked = deltas.flatten(1).gather(1, where.flatten(1))
        stride_x, stride_y = self.strides[level]
        shift = torch.stack([column * stride_x, row * stride_y], -1)
        boxes = self.decoder(
            base[anchor] + torch.cat([shift, shift], -1),
            picked.unflatten(1, (self.num, 4)),
            hw_shape,
        )
        return Candidates(
            drop_small(scores, boxes, self.min_size), label, boxes
        )
