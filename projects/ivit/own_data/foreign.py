# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Refuse configs that need annotations which ``--data`` does not have."""

from typing import Any

from mmengine.config import Config

from ..engine.errors import UsageError
from ..nested import class_name, iterate_dicts

# Steps of a pipeline and samplers, and what each of them needs.
NEEDS = dict(
    LoadProposals='proposals of another detector',
    LoadPanopticAnnotations='panoptic annotations',
    MultiBranch='images without annotations beside those with them',
    MultiSourceSampler='several data sets at a time',
    GroupMultiSourceSampler='several data sets at a time',
)


def refuse_other_annotations(cfg: Config) -> None:
    """Check that the loaders need nothing but boxes, masks or classes.

    Args:
        cfg: The experiment's config.

    Raises:
        UsageError: If they need more; it names the step or sampler.
    """
    for phase in ('train', 'val', 'test'):
        for node in iterate_dicts(cfg.get(f'{phase}_dataloader') or {}):
            need = _need_of(node)
            if need:
                raise UsageError(
                    f'{phase}_dataloader has {class_name(node)}, which needs '
                    f'{need}, and --data has none. Take a config that '
                    'trains without them, such as mask_rcnn_ivit_t_coco'
                )


def _need_of(node: dict[str, Any]) -> str | None:
    """What a step or sampler needs beyond boxes, masks and classes."""
    if class_name(node) in NEEDS:
        return NEEDS[class_name(node)]
    if node.get('with_seg') is True and node.get('with_bbox') is True:
        return 'label maps beside the objects'
    return None
