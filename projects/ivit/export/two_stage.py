# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Proposals, and the box heads of Faster and Cascade R-CNN, as a graph."""

from collections.abc import Mapping
from itertools import pairwise
from typing import TypeAlias, cast

import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import (
    BBoxHead,
    ConvFCBBoxHead,
    Shared2FCBBoxHead,
    Shared4Conv1FCBBoxHead,
)
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from torch import Tensor, nn

from .boxes import BoxDecoder, split_index, take
from .candidates import AnchorCandidates
from .region_features import RegionFeatures
from .supported import (
    nms_threshold,
    positive_number,
    require,
    require_class,
)
from .suppression import suppress

RoIHead: TypeAlias = StandardRoIHead | CascadeRoIHead
BOX_HEADS = (
    BBoxHead,
    ConvFCBBoxHead,
    Shared2FCBBoxHead,
    Shared4Conv1FCBBoxHead,
)


class Proposals(nn.Module):
    """Regions that an ``RPNHead`` proposes.

    Args:
        head: With its ``test_cfg``.

    Raises:
        ValueError: If the head or a part of it is of another kind than the
            graph has.
    """

    def __init__(self, head: RPNHead) -> None:
        super().__init__()
        require_class(head, (RPNHead,), 'rpn_head')
        self.candidates = AnchorCandidates(head)
        self.iou_threshold = nms_threshold(head.test_cfg)
        self.max_out = positive_number(head.test_cfg, 'max_per_img')

    def forward(
        self, maps: tuple[Tensor, ...], hw_shape: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Propose.

        Args:
            maps: Of the neck, ``(B, C, H_l, W_l)``.
            hw_shape: Height and width of the images before padding.

        Returns:
            Boxes ``(B, R, 4)``, zero behind the last one, and which of them
            are there, ``(B, R)``.
        """
        scores, _, boxes = self.candidates(maps, hw_shape)
        # Levels do not suppress one another. Scores are probabilities, and a
        # threshold below 0 keeps all of them.
        _, index = suppress(
            boxes, scores, self.iou_threshold, -1.0, self.max_out
        )
        return take(boxes.flatten(1, 2), index), index >= 0


class BoxStage(nn.Module):
    """One box head: classes and boxes of regions.

    Args:
        extractor: Pools the regions.
        head: Of a class in ``BOX_HEADS``.

    Raises:
        ValueError: If one of them is of another kind than the graph has.
    """

    def __init__(
        self, extractor: SingleRoIExtractor, head: ConvFCBBoxHead
    ) -> None:
        super().__init__()
        require_class(head, BOX_HEADS, 'bbox_head')
        require(
            not head.custom_activation and not head.custom_cls_channels,
            f'scores by {type(head.loss_cls).__name__}',
        )
        require(head.with_cls and head.with_reg, 'no classes or no boxes')
        self.features = RegionFeatures(extractor)
        self.head = head
        self.decoder = BoxDecoder(head.bbox_coder)

    def forward(
        self, maps: tuple[Tensor, ...], rois: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Predict.

        Args:
            maps: Of the neck, ``(B, C, H_l, W_l)``.
            rois: ``(B, R, 4)``.

        Returns:
            Logits ``(B, R, C + 1)``, the background last, and deltas ``(B,
            R, C', 4)``; C' is 1 if the head does not tell classes apart.
        """
        logits, deltas = self.head(self.features(maps, rois))
        num = rois.shape[1]
        return (
            logits.unflatten(0, (-1, num)),
            deltas.unflatten(0, (-1, num)).unflatten(2, (-1, 4)),
        )

    def refine(
        self,
        rois: Tensor,
        logits: Tensor,
        deltas: Tensor,
        hw_shape: tuple[int, int],
    ) -> Tensor:
        """Regions of the next stage: the boxes of the best classes.

        Args:
            rois: ``(B, R, 4)``.
            logits: Of :meth:`forward`.
            deltas: Of :meth:`forward`.
            hw_shape: Height and width of the images before padding.

        Returns:
            ``(B, R, 4)``.
        """
        if deltas.shape[2] > 1:
            best = logits[..., :-1].argmax(-1)[..., None, None]
            deltas = deltas.gather(2, best.expand(-1, -1, -1, 4))
        return self.decoder(rois, deltas.squeeze(2), hw_shape)


class BoxStages(nn.Module):
    """The box heads of a RoI head; a standard one has a single stage.

    Args:
        roi_head: A ``StandardRoIHead`` or a ``CascadeRoIHead`` with its
            ``test_cfg``.

    Raises:
        ValueError: If the head or a part of it is of another kind than the
            graph has.
    """

    def __init__(self, roi_head: RoIHead) -> None:
        super().__init__()
        require_class(roi_head, (StandardRoIHead, CascadeRoIHead), 'roi_head')
        require(not roi_head.with_shared_head, 'a shared_head')
        self.stages = nn.ModuleList(
            BoxStage(extractor, head)
            for extractor, head in zip(
                as_stages(roi_head.bbox_roi_extractor),
                as_stages(roi_head.bbox_head),
                strict=True,
            )
        )
        test_cfg = cast(Mapping, roi_head.test_cfg)
        self.score_threshold = float(test_cfg['score_thr'])
        self.iou_threshold = nms_threshold(test_cfg)
        self.max_out = positive_number(test_cfg, 'max_per_img')

    def forward(
        self,
        maps: tuple[Tensor, ...],
        rois: Tensor,
        found: Tensor,
        hw_shape: tuple[int, int],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Detect in regions.

        Args:
            maps: Of the neck, ``(B, C, H_l, W_l)``.
            rois: Of :class:`Proposals`.
            found: Of :class:`Proposals`.
            hw_shape: Height and width of the images before padding.

        Returns:
            Boxes ``(B, K, 4)``, scores and labels ``(B, K)``; zero and -1
            behind the last detection.
        """
        stages = cast(list[BoxStage], list(self.stages))
        logits, deltas = stages[0](maps, rois)
        total = logits
        for stage, following in pairwise(stages):
            rois = stage.refine(rois, logits, deltas, hw_shape)
            logits, deltas = following(maps, rois)
            total = total + logits
        boxes = stages[-1].decoder(rois[:, :, None], deltas, hw_shape)
        logits = total / len(stages)
        scores = logits.softmax(-1)[..., :-1].transpose(1, 2)
        boxes = boxes.transpose(1, 2).expand(-1, scores.shape[1], -1, -1)
        scores, index = suppress(
            boxes,
            scores.where(found[:, None], -torch.inf),
            self.iou_threshold,
            self.score_threshold,
            self.max_out,
        )
        labels, _ = split_index(index, rois.shape[1])
        return take(boxes.flatten(1, 2), index), scores, labels


def as_stages(parts: nn.Module) -> list:
    """The parts of a RoI head, one for each stage."""
    return list(parts) if isinstance(parts, nn.ModuleList) else [parts]
