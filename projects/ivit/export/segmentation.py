# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The graph of a segmentor."""

import torch.nn.functional as F
from mmseg.models import BaseSegmentor, EncoderDecoder
from torch import Tensor, nn

from ..engine import UsageError
from .supported import INSTEAD


class SegmentationGraph(nn.Module):
    """Images to label maps of their size.

    Args:
        model: An ``EncoderDecoder`` of mmseg that looks at whole images.
        logits: Whether the logits are returned too.

    Raises:
        UsageError: If the model is of another kind.
    """

    def __init__(self, model: BaseSegmentor, logits: bool) -> None:
        super().__init__()
        if type(model) is not EncoderDecoder:
            raise UsageError(
                f'{type(model).__name__} is not exported as a whole; of '
                f'segmentors it is EncoderDecoder. {INSTEAD}'
            )
        mode = model.test_cfg.get('mode', 'whole')
        if mode != 'whole':
            raise UsageError(
                f'model.test_cfg.mode={mode!r} cuts images up, and a graph '
                "takes them whole. Test with mode='whole' to know what that "
                'costs, and export with --cfg-options '
                'model.test_cfg.mode=whole'
            )
        self.model = model
        self.outputs = ('labels', 'logits') if logits else ('labels',)

    def forward(
        self, images: Tensor, hw_shape: tuple[int, int]
    ) -> tuple[Tensor, ...]:
        """Segment images.

        Args:
            images: Normalised and padded, ``(B, 3, H', W')``.
            hw_shape: Height H and width W without the padding.

        Returns:
            Labels ``(B, H, W)`` of int64, and logits ``(B, C, H, W)`` if
            they were asked for.
        """
        head = self.model.decode_head
        logits = head(self.model.extract_feat(images))
        logits = F.interpolate(
            logits,
            size=images.shape[2:],
            mode='bilinear',
            align_corners=head.align_corners,
        )
        logits = logits[..., : hw_shape[0], : hw_shape[1]]
        if logits.shape[1] > 1:
            labels = logits.argmax(1)
        else:
            labels = (logits[:, 0].sigmoid() > head.threshold).long()
        return (labels, logits)[: len(self.outputs)]
