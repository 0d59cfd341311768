# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Fit the heads of a model's config to the number of classes and to masks."""

import re
from collections.abc import Iterator
from inspect import signature
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, Registry

from ..engine.errors import UsageError
from ..frameworks import FRAMEWORKS
from ..nested import as_list, iterate_dicts, iterate_nested

# Parts whose number of classes is not the data's: RPN has objects alone.
CLASS_AGNOSTIC = ('rpn_head',)
MASK_PARTS = ('mask_head', 'mask_roi_extractor')
# What of a model's config builds no part of it.
SETTINGS = ('backbone', 'data_preprocessor', 'test_cfg', 'train_cfg')


def iterate_class_counts(model: ConfigDict) -> Iterator[tuple[str, int]]:
    """Where a model's config says how many classes there are.

    Yields:
        The dotted key, such as ``'model.roi_head.bbox_head.num_classes'``,
        and the number. The things and stuff of a panoptic head are two.
    """
    for key, value in iterate_nested(model, 'model'):
        *path, name = key.split('.')
        if (
            name in ('num_classes', 'num_things_classes')
            and isinstance(value, int)
            and not set(path) & set(CLASS_AGNOSTIC)
        ):
            yield key, value


def state_class_counts(cfg: Config) -> None:
    """Write down the numbers of classes that heads assume, in place.

    A box or mask head of mmdet that is not told has 80 classes.

    Args:
        cfg: A config of any framework.
    """
    scope = cfg.get('default_scope')
    if scope not in FRAMEWORKS:
        return
    with MODELS.switch_scope_and_registry(scope) as registry:
        for name, part in cfg.model.items():
            if name in CLASS_AGNOSTIC or name in SETTINGS:
                continue
            for key, node in iterate_nested(part, name):
                place = re.sub(r'(\.\d+)+$', '', key)
                if isinstance(node, dict) and place.endswith('_head'):
                    assumed = _assumed_class_count(node, registry)
                    if assumed is not None:
                        node['num_classes'] = assumed


def _assumed_class_count(
    head: dict[str, Any], registry: Registry
) -> int | None:
    """The ``num_classes`` of a head that is not told, by its class."""
    kind = head.get('type')
    if 'num_classes' in head or not isinstance(kind, str):
        return None
    for cls in getattr(registry.get(kind), '__mro__', ()):
        if '__init__' in vars(cls):
            parameters = signature(cls.__init__).parameters
            if 'num_classes' in parameters:
                assumed = parameters['num_classes'].default
                return assumed if isinstance(assumed, int) else None
    return None


def set_class_counts(cfg: Config, number: int) -> list[str]:
    """Give every head the number of classes, in place.

    Args:
        cfg: The experiment's config.
        number: Number of classes of the data.

    Returns:
        What was changed, in words.
    """
    state_class_counts(cfg)
    changed: dict[int, int] = {}
    for node in _dicts_of_heads(cfg.model):
        before = node.get('num_classes')
        if isinstance(node.get('num_things_classes'), int):
            before = node['num_things_classes']
            before += node.get('num_stuff_classes', 0)
        for key in ('num_classes', 'num_things_classes'):
            if isinstance(node.get(key), int):
                node[key] = number
        if isinstance(node.get('num_stuff_classes'), int):
            node['num_stuff_classes'] = 0
        if before is None or before == number:
            continue
        changed[before] = changed.get(before, 0) + 1
        # A head of one logit for two classes keeps it.
        if node.get('out_channels') == before:
            node['out_channels'] = number
        _fit_class_weights(node, before, number)
    if cfg.get('data_preprocessor', {}).get('num_classes') is not None:
        cfg.data_preprocessor.num_classes = number
    return [
        f'num_classes of {times} heads: {before} -> {number}'
        if times > 1
        else f'num_classes of a head: {before} -> {number}'
        for before, times in changed.items()
    ]


def remove_masks(cfg: Config) -> str:
    """Leave a detector's mask head out, and masks unread, in place.

    Returns:
        What was changed, in words.

    Raises:
        UsageError: If the model has masks in another place than a RoI head's
            ``mask_head``.
    """
    roi_head = cfg.model.get('roi_head') or {}
    has_mask_head = bool(roi_head.get('mask_head'))
    for part in MASK_PARTS:
        roi_head.pop(part, None)
    if not has_mask_head and _finds_masks(cfg.model):
        raise UsageError(
            f'the data has boxes without masks, and {cfg.model.type} cannot '
            'be trained without masks. Take a config of a detector for '
            'boxes, such as retinanet_ivit_t_coco'
        )
    for pipeline in _pipelines(cfg):
        for step in iterate_dicts(pipeline):
            if step.get('with_mask'):
                step['with_mask'] = False
    for key in ('val_evaluator', 'test_evaluator'):
        for evaluator in as_list(cfg.get(key)):
            metric = evaluator.get('metric')
            if isinstance(metric, (list, tuple)):
                evaluator['metric'] = [m for m in metric if m != 'segm']
            elif metric == 'segm':
                evaluator['metric'] = 'bbox'
    if has_mask_head:
        return (
            'no object has a mask, so the mask head is left out; the model '
            'finds boxes'
        )
    return 'no object has a mask, and the model finds boxes alone'


def _finds_masks(model: ConfigDict) -> bool:
    """Whether a part of a model is for masks of instances."""
    parts = {k: v for k, v in model.items() if k not in SETTINGS}
    for key, value in iterate_nested(parts):
        name = key.rpartition('.')[2]
        if value and ('mask' in name or name == 'type' and 'Mask' in value):
            return True
    return False


def wants_masks(cfg: Config) -> bool:
    """Whether the training pipeline loads masks of instances."""
    loader = cfg.get('train_dataloader') or {}
    return any(node.get('with_mask') is True for node in iterate_dicts(loader))


def _dicts_of_heads(model: ConfigDict) -> Iterator[dict[str, Any]]:
    """The dicts of a model in which numbers of classes stand."""
    for name, part in model.items():
        if name not in CLASS_AGNOSTIC:
            yield from iterate_dicts(part)


def _fit_class_weights(node: dict[str, Any], before: int, number: int) -> None:
    """Fit ``class_weight`` of a head's losses to the number of classes.

    Weights that are all alike, but for one at the end for the background,
    are repeated; others say something of the classes that were, and go.
    """
    for loss in iterate_dicts(node):
        weights = loss.get('class_weight')
        if not isinstance(weights, (list, tuple)):
            continue
        body, rest = list(weights[:before]), list(weights[before:])
        alike = len(set(body)) == 1
        loss['class_weight'] = body[:1] * number + rest if alike else None


def _pipelines(cfg: Config) -> Iterator[Any]:
    """Everything in a config that may hold steps of a pipeline."""
    for phase in ('train', 'val', 'test'):
        yield cfg.get(f'{phase}_dataloader') or {}
    for key in ('train_pipeline', 'test_pipeline', 'tta_pipeline'):
        yield cfg.get(key) or []
