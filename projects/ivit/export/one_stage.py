# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""RetinaNet's head as a graph."""

import torch
from mmdet.models.dense_heads import RetinaHead
from torch import Tensor, nn

from .boxes import split_index, take
from .candidates import AnchorCandidates
from .supported import nms_threshold, positive_number, require_class
from .suppression import suppress


class OneStage(nn.Module):
    """Detections of a ``RetinaHead``.

    Args:
        head: With its ``test_cfg``.

    Raises:
        ValueError: If the head or a part of it is of another kind than the
            graph has.
    """

    def __init__(self, head: RetinaHead) -> None:
        super().__init__()
        require_class(head, (RetinaHead,), 'bbox_head')
        self.candidates = AnchorCandidates(head)
        self.num_classes = head.num_classes
        self.score_threshold = float(head.test_cfg.get('score_thr', 0))
        self.iou_threshold = nms_threshold(head.test_cfg)
        self.max_out = positive_number(head.test_cfg, 'max_per_img')

    def forward(
        self, maps: tuple[Tensor, ...], hw_shape: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Detect.

        Args:
            maps: Of the neck, ``(B, C, H_l, W_l)``.
            hw_shape: Height and width of the images before padding.

        Returns:
            Boxes ``(B, K, 4)``, scores and labels ``(B, K)``; zero and -1
            behind the last detection.
        """
        scores, labels, boxes = (
            each.flatten(1, 2) for each in self.candidates(maps, hw_shape)
        )
        # Every class sees all boxes, and scores of its own alone.
        classes = torch.arange(self.num_classes, device=labels.device)
        of_class = labels[:, None] == classes[:, None]
        scores, index = suppress(
            boxes[:, None].expand(-1, self.num_classes, -1, -1),
            torch.where(of_class, scores[:, None], -torch.inf),
            self.iou_threshold,
            self.score_threshold,
            self.max_out,
        )
        labels, place = split_index(index, boxes.shape[1])
        return take(boxes, place), scores, labels
