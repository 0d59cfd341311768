# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The graph of backbone and neck."""

from typing import Any

from torch import Tensor, nn

from ..engine import UsageError


class FeatureGraph(nn.Module):
    """Images to maps, of the neck if there is one.

    Args:
        model: A model of mmdet, mmseg or mmpretrain.

    Raises:
        UsageError: If it has no backbone.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        if not isinstance(getattr(model, 'backbone', None), nn.Module):
            raise UsageError(
                f'{type(model).__name__} has no backbone to export'
            )
        self.model = model

    def forward(
        self, images: Tensor, hw_shape: tuple[int, int]
    ) -> tuple[Tensor, ...]:
        """Maps ``(B, C, H / s, W / s)`` of normalised images."""
        return tuple(self.model.extract_feat(images))
