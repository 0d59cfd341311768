# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The weights that a training begins with, as its config names them."""

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from ..nested import as_list, iterate_nested

# What mmsegmentation's models and some backbones have for init_cfg.
OLDER_KEY = 'pretrained'


def files_of_parts(cfg: Config) -> list[tuple[str, str]]:
    """The files or addresses in every ``init_cfg`` of the model.

    Returns:
        The dotted key of a part, such as ``'model.backbone'``, and what is
        loaded into it.
    """
    return [
        (key, init['checkpoint'])
        for key, node in _parts(cfg)
        for init in as_list(node.get('init_cfg'))
        if _is_file(init)
    ]


def has_initial_weights(cfg: Config) -> bool:
    """Whether a training begins with weights that its config names."""
    return bool(cfg.get('load_from') or _all_files(cfg))


def tell_initial_weights(cfg: Config) -> str:
    """Say what a training begins with, for people."""
    if cfg.get('load_from'):
        return str(cfg.load_from)
    files = _all_files(cfg)
    if not files:
        return 'random'
    parts = [f'{path} in {key}' for key, path in files]
    if 'model' not in dict(files):
        parts.append('random elsewhere')
    return ', '.join(parts)


def remove_initial_weights(cfg: Config) -> None:
    """Let a training begin with random weights, in place."""
    cfg.load_from = None
    for _, node in _parts(cfg):
        if node.get('init_cfg'):
            kept = [i for i in as_list(node['init_cfg']) if not _is_file(i)]
            node['init_cfg'] = kept or None
        if isinstance(node.get(OLDER_KEY), str):
            node[OLDER_KEY] = None


def _all_files(cfg: Config) -> list[tuple[str, str]]:
    older = [
        ('model.backbone' if key == 'model' else key, node[OLDER_KEY])
        for key, node in _parts(cfg)
        if isinstance(node.get(OLDER_KEY), str)
    ]
    return files_of_parts(cfg) + older


def _parts(cfg: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every dict of the model that builds something, by its dotted key."""
    for key, node in iterate_nested(cfg.get('model'), 'model'):
        if isinstance(node, dict) and 'type' in node:
            yield key, node


def _is_file(init: dict[str, Any]) -> bool:
    return init.get('type') == 'Pretrained' and isinstance(
        init.get('checkpoint'), str
    )
