# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""A whole model as one module from images to tensors."""

from copy import deepcopy

import torch
from mmcv.cnn import fuse_conv_bn
from mmengine.config import Config
from torch import Tensor, nn

from ..engine import UsageError
from ..own_data.fit import task_of
from .features import FeatureGraph
from .inputs import Normalise, read_normalisation
from .replace import replace_modules
from .supported import INSTEAD

PARTS = ('model', 'backbone')


class Graph(nn.Module):
    """RGB images ``(B, 3, H, W)`` of uint8 to what a model predicts of them.

    Args:
        normalise: What the images go through first.
        body: Takes its result, and the height and width before padding;
            returns a tuple of tensors.
        outputs: A name for each of them.
        task: What the graph is for: ``'detection'``, ``'segmentation'``,
            ``'classification'`` or ``'features'``.
    """

    def __init__(
        self,
        normalise: Normalise,
        body: nn.Module,
        outputs: tuple[str, ...],
        task: str,
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.body = body
        self.outputs = outputs
        self.task = task

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Predict; see the class."""
        hw_shape = (images.shape[2], images.shape[3])
        return self.body(self.normalise(images), hw_shape)


def build_graph(
    model: nn.Module, cfg: Config, part: str = 'model', logits: bool = False
) -> Graph:
    """Make the graph of a model; the model stays as it is.

    Args:
        model: A model of mmdet, mmseg or mmpretrain.
        cfg: Its config.
        part: ``'model'``, or ``'backbone'`` for backbone and neck alone.
        logits: Whether a segmentor returns its logits too.

    Raises:
        ValueError: If the model or a part of it is of a kind that is not
            exported.
    """
    if part not in PARTS:
        raise ValueError(f'part={part!r} must be one of {PARTS}')
    normalise = read_normalisation(cfg)
    model = fuse_conv_bn(deepcopy(model).eval())
    replace_modules(model)
    task = 'features' if part == 'backbone' else task_of(cfg)
    if logits and task != 'segmentation':
        raise UsageError(
            '--logits is for segmentors that are exported as a whole; this '
            f'is {task}'
        )
    body = _BUILDERS[task](model, logits)
    number = len(_try(body, model))
    outputs = getattr(body, 'outputs', None)
    if outputs is None:
        outputs = tuple(f'map_{i}' for i in range(number))
    return Graph(normalise, body, tuple(outputs), task).eval()


def _try(body: nn.Module, model: nn.Module) -> tuple[Tensor, ...]:
    """Run a body once, on a small image.

    Raises:
        UsageError: If it fails, as heads do that return something else.
    """
    device = next(body.parameters()).device
    image = torch.zeros(1, 3, 64, 64, device=device)
    try:
        with torch.no_grad():
            return body(image, (64, 64))
    except Exception as error:  # of any head
        parts = [
            f'{name} {type(part).__name__}'
            for name, part in model.named_children()
            if 'head' in name
        ]
        raise UsageError(
            f'{type(model).__name__} with {", ".join(parts) or "no head"} is '
            f'not exported ({type(error).__name__}: {error}). {INSTEAD}'
        ) from error


def _detector(model: nn.Module, logits: bool) -> nn.Module:
    from .detection import detection_graph

    return detection_graph(model)


def _segmentor(model: nn.Module, logits: bool) -> nn.Module:
    from .segmentation import SegmentationGraph

    return SegmentationGraph(model, logits)


def _classifier(model: nn.Module, logits: bool) -> nn.Module:
    from .classification import ClassificationGraph

    return ClassificationGraph(model)


def _features(model: nn.Module, logits: bool) -> nn.Module:
    return FeatureGraph(model)


# Each imports its framework, which need not be installed.
_BUILDERS = dict(
    detection=_detector,
    segmentation=_segmentor,
    classification=_classifier,
    features=_features,
)
