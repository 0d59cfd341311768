# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Check that neck and heads take the maps that our backbones give."""

from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from ..backbones.base import Backbone
from ..engine.errors import UsageError

# So large an image gives maps of every stage; it has no memory of its own.
SIDE = 64


def check_widths(cfg: Config) -> None:
    """Compare the widths of a backbone of ours with what follows it.

    mmdet and mmseg find a difference in the first step, as an error of a
    convolution.

    Raises:
        UsageError: If the neck, or the heads where there is none, take other
            numbers of channels; it names the right ones.
    """
    model = cfg.get('model') or {}
    backbone = model.get('backbone') or {}
    kind = backbone.get('type')
    cls = MODELS.get(kind) if isinstance(kind, str) else kind
    if not (isinstance(cls, type) and issubclass(cls, Backbone)):
        return
    options = {key: backbone[key] for key in backbone if key != 'type'}
    options.pop('init_cfg', None)
    with torch.device('meta'):
        built = cls(**options).eval()
        maps = built(torch.empty(1, built.in_channels, SIDE, SIDE))
    widths = [x.shape[1] for x in maps]
    for key, part in _parts_after_backbone(model):
        wanted = _pick(widths, part)
        given = part['in_channels']
        given = [given] if isinstance(given, int) else list(given)
        if wanted is not None and given != wanted:
            right: Any = wanted
            if isinstance(part['in_channels'], int):
                right = wanted[0]
            raise UsageError(
                f'model.backbone (arch={options.get("arch")!r}) gives maps '
                f'of {", ".join(map(str, widths))} channels, and '
                f'{key}.in_channels={part["in_channels"]!r}. Set '
                f'{key}.in_channels={str(right).replace(" ", "")}'
            )


def _parts_after_backbone(
    model: dict[str, Any],
) -> list[tuple[str, dict[str, Any]]]:
    """The parts of a model's config that take the backbone's maps."""
    neck = model.get('neck')
    if isinstance(neck, dict) and 'in_channels' in neck:
        return [('model.neck', neck)]
    if neck and not (
        isinstance(neck, dict) and neck.get('type') == 'GlobalAveragePooling'
    ):
        return []
    parts = []
    for name in ('decode_head', 'auxiliary_head', 'head'):
        heads = model.get(name) or []
        many = isinstance(heads, (list, tuple))
        for i, head in enumerate(heads if many else [heads]):
            key = f'model.{name}.{i}' if many else f'model.{name}'
            if isinstance(head, dict) and 'in_channels' in head:
                parts.append((key, head))
    return parts


def _pick(widths: list[int], part: dict[str, Any]) -> list[int] | None:
    """The widths of the maps that a part takes; None if it is not known."""
    index = part.get('in_index')
    if isinstance(part['in_channels'], int):
        index = -1 if index is None else index
        if not isinstance(index, int) or not -len(widths) <= index < len(
            widths
        ):
            return None
        return [widths[index]]
    if index is None:
        return widths
    if not all(-len(widths) <= i < len(widths) for i in index):
        return None
    return [widths[i] for i in index]
