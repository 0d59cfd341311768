# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The graph of a classifier."""

from mmpretrain.models import ClsHead, ImageClassifier
from torch import Tensor, nn

from ..engine import UsageError
from .supported import INSTEAD


class ClassificationGraph(nn.Module):
    """Images to the probabilities of classes.

    Args:
        model: An ``ImageClassifier`` of mmpretrain with one label an image.

    Raises:
        UsageError: If the model or its head is of another kind.
    """

    outputs = ('scores',)

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        head = getattr(model, 'head', None)
        if not isinstance(model, ImageClassifier) or not isinstance(
            head, ClsHead
        ):
            raise UsageError(
                f'{type(model).__name__} with {type(head).__name__} is not '
                'exported as a whole; of classifiers it is ImageClassifier '
                f'with a ClsHead. {INSTEAD}'
            )
        self.model = model

    def forward(
        self, images: Tensor, hw_shape: tuple[int, int]
    ) -> tuple[Tensor, ...]:
        """Classify normalised images ``(B, 3, H, W)``: ``(B, C)``."""
        scores = self.model.head(self.model.extract_feat(images))
        return (scores.softmax(1),)
