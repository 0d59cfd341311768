# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The mask heads of Mask R-CNN and its cascade as a graph."""

import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from torch import Tensor, nn

from .region_features import RegionFeatures
from .supported import require_class
from .two_stage import RoIHead, as_stages


class Masks(nn.Module):
    """Masks of detections, the mean of all stages.

    Args:
        roi_head: With a mask head, of a kind that :class:`.BoxStages` has.

    Raises:
        ValueError: If the mask head or its extractor is of another kind.
    """

    def __init__(self, roi_head: RoIHead) -> None:
        super().__init__()
        self.heads = nn.ModuleList(as_stages(roi_head.mask_head))
        for head in self.heads:
            require_class(head, (FCNMaskHead,), 'mask_head')
        self.features = nn.ModuleList(
            RegionFeatures(extractor)
            for extractor in as_stages(roi_head.mask_roi_extractor)
        )

    def forward(
        self, maps: tuple[Tensor, ...], boxes: Tensor, labels: Tensor
    ) -> Tensor:
        """Predict masks.

        Args:
            maps: Of the neck, ``(B, C, H_l, W_l)``.
            boxes: ``(B, K, 4)``.
            labels: ``(B, K)``, -1 for no detection.

        Returns:
            Probabilities ``(B, K, M, M)`` over the boxes, 0 behind the last
            detection.
        """
        stages = [
            self._of_label(head(features(maps, boxes)), labels).sigmoid()
            for head, features in zip(self.heads, self.features, strict=True)
        ]
        masks = torch.stack(stages).mean(0).unflatten(0, (-1, labels.shape[1]))
        return masks * (labels >= 0)[..., None, None]

    @staticmethod
    def _of_label(logits: Tensor, labels: Tensor) -> Tensor:
        """The map of the predicted class: ``(B K, C, M, M)`` without C."""
        if logits.shape[1] == 1:  # one mask for all classes
            return logits[:, 0]
        channel = labels.flatten().clamp(min=0)[:, None, None, None]
        return logits.gather(1, channel.expand(-1, -1, *logits.shape[2:]))[
            :, 0
        ]
