# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What a file says about itself, for whoever runs it."""

import json
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from .. import __version__
from ..engine import UsageError
from ..nested import class_name, innermost_datasets
from .graph import Graph
from .session import KEY

# Steps of a test pipeline after which an image has the same pixels.
HARMLESS = ('PackInputs', 'PackDetInputs', 'PackSegInputs')


def describe(
    graph: Graph,
    cfg: Config,
    classes: tuple[str, ...],
    palette: tuple[tuple[int, int, int], ...],
    weights: str,
) -> dict[str, str]:
    """The metadata of a file.

    Args:
        graph: What is exported.
        cfg: Its config.
        classes: Names of the classes.
        palette: A colour for each.
        weights: Where the weights are from.

    Returns:
        Texts by key. All of ours are one JSON text under ``ivit``.
    """
    info: dict[str, Any] = dict(
        task=graph.task,
        classes=classes,
        palette=palette,
        resize=read_resize(cfg),
        outputs=graph.outputs,
        weights=weights,
        version=__version__,
    )
    model = cfg.model
    if 'masks' in graph.outputs:
        info['mask_threshold'] = model.test_cfg.rcnn.mask_thr_binary
    if graph.task == 'segmentation':
        body: Any = graph.body
        head = body.model.decode_head
        info['align_corners'] = head.align_corners
        # Of the probability of a single class; others have none.
        info['threshold'] = head.threshold or 0.5
    return {KEY: json.dumps(info)}


def read_resize(cfg: Config) -> list[dict[str, Any]]:
    """How the test pipeline changes an image before the model gets it.

    Args:
        cfg: The config of an experiment.

    Returns:
        Steps in their order, each a dict of plain values:

        - ``{'step': 'fit', 'size': [w, h]}``: the largest that fits into this
          size or the same turned, with the same proportions;
        - ``{'step': 'stretch', 'size': [w, h]}``: to exactly this size;
        - ``{'step': 'short', 'size': s}``: the short side becomes this long;
        - ``{'step': 'multiple', 'size': s}``: each side to the next multiple;
        - ``{'step': 'crop', 'size': [w, h]}``: the middle of the image.

        Resizing steps have ``'interpolation'`` and ``'backend'``, ``'cv2'``
        or ``'pillow'``, too.

    Raises:
        UsageError: If there is a step that cannot be told so.
    """
    steps = []
    dataset = next(innermost_datasets(cfg.test_dataloader.dataset))
    for step in dataset.get('pipeline') or ():
        name = class_name(step)
        if name.startswith('Load') or name in HARMLESS:
            continue
        teller = _TELLERS.get(name)
        told = teller(step) if teller else None
        if told is None:
            raise UsageError(
                f'the step {dict(step)} of the test pipeline cannot be told '
                'to who runs the file. Leave it out of the pipeline, or put '
                'Resize, ResizeEdge or CenterCrop in its place'
            )
        steps.append(told)
    return steps


def _tell_resize(step: dict[str, Any]) -> dict[str, Any] | None:
    scale = step.get('scale')
    if scale is None:
        return None
    kind = 'fit' if step.get('keep_ratio') else 'stretch'
    return dict(step=kind, size=_pair(scale), **_how(step))


def _tell_edge(step: dict[str, Any]) -> dict[str, Any] | None:
    if step.get('edge', 'short') != 'short':
        return None
    return dict(step='short', size=step['scale'], **_how(step))


def _how(step: dict[str, Any]) -> dict[str, str]:
    """With which library's arithmetic pixels are made."""
    how = dict(
        interpolation=step.get('interpolation', 'bilinear'),
        backend=step.get('backend', 'cv2'),
    )
    if how['backend'] == 'cv2' and how['interpolation'] != 'bilinear':
        raise UsageError(
            f'{class_name(step)} of the test pipeline has interpolation='
            f'{how["interpolation"]!r} of OpenCV, which who runs the file '
            "need not have. Take bilinear, or backend='pillow'"
        )
    return how


def _tell_multiple(step: dict[str, Any]) -> dict[str, Any]:
    return dict(step='multiple', size=step['size_divisor'], **_how(step))


def _tell_crop(step: dict[str, Any]) -> dict[str, Any] | None:
    if step.get('auto_pad'):
        return None
    return dict(step='crop', size=_pair(step['crop_size']))


def _pair(size: int | Sequence[int]) -> list[int]:
    return [size, size] if isinstance(size, int) else list(size)


_TELLERS = dict(
    Resize=_tell_resize,
    ResizeEdge=_tell_edge,
    ResizeToMultiple=_tell_multiple,
    CenterCrop=_tell_crop,
)
