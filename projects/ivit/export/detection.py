# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Detectors of mmdet as graphs without sizes that depend on data."""

from mmdet.models.detectors import SingleStageDetector, TwoStageDetector
from torch import Tensor, nn

from .masks import Masks
from .one_stage import OneStage
from .supported import INSTEAD, require
from .two_stage import BoxStages, Proposals


def detection_graph(model: nn.Module) -> 'DetectionGraph':
    """A detector as a graph that ``torch.export`` can follow.

    RetinaNet, Faster R-CNN, Mask R-CNN and Cascade (Mask) R-CNN of mmdet,
    with any backbone and neck. The graph shares the model's parameters and
    computes what the model predicts.

    Args:
        model: Of mmdet, with its ``test_cfg``.

    Returns:
        The graph, in evaluation mode.

    Raises:
        ValueError: If the model is no such detector, or if a head, box coder
            or setting is of a kind that the graph does not compute.
    """
    if not isinstance(model, SingleStageDetector | TwoStageDetector):
        raise ValueError(
            f'cannot export a {type(model).__name__}: no detector of one or '
            f'two stages; {INSTEAD}'
        )
    return DetectionGraph(model).eval()


class DetectionGraph(nn.Module):
    """Boxes, scores, labels and masks of a fixed number of detections.

    Args:
        model: Of :func:`detection_graph`.
    """

    def __init__(self, model: SingleStageDetector | TwoStageDetector) -> None:
        super().__init__()
        self.model = model
        self.one_stage: OneStage | None = None
        self.masks: Masks | None = None
        if isinstance(model, SingleStageDetector):
            self.one_stage = OneStage(model.bbox_head)
            return
        require(model.with_rpn, 'no rpn_head')
        require(not hasattr(model, 'semantic_head'), 'a semantic_head')
        self.proposals = Proposals(model.rpn_head)
        self.boxes = BoxStages(model.roi_head)
        if model.roi_head.with_mask:
            self.masks = Masks(model.roi_head)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what :meth:`forward` returns."""
        boxes = ('boxes', 'scores', 'labels')
        return boxes if self.masks is None else (*boxes, 'masks')

    @property
    def max_out(self) -> int:
        """Detections of an image, K."""
        head = self.boxes if self.one_stage is None else self.one_stage
        return head.max_out

    def forward(
        self, images: Tensor, hw_shape: tuple[int, int]
    ) -> tuple[Tensor, ...]:
        """Detect.

        Args:
            images: Normalised and padded, ``(B, 3, H', W')``.
            hw_shape: Height and width before padding; boxes are clipped to
                them.

        Returns:
            Boxes ``(B, K, 4)``, x1, y1, x2, y2 in pixels, scores ``(B, K)``
            by falling value, and labels ``(B, K)``, int64; zeros and -1
            behind the last detection. With a mask head also ``(B, K, M, M)``,
            the probability of the predicted class over the box.
        """
        maps = self.model.extract_feat(images)
        if self.one_stage is not None:
            return self.one_stage(maps, hw_shape)
        rois, found = self.proposals(maps, hw_shape)
        boxes, scores, labels = self.boxes(maps, rois, found, hw_shape)
        if self.masks is None:
            return boxes, scores, labels
        return boxes, scores, labels, self.masks(maps, boxes, labels)
