# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Walk through nested configs."""

from collections.abc import Iterable, Iterator
from typing import Any


def iterate_nested(node: Any, key: str = '') -> Iterator[tuple[str, Any]]:
    """Every value in a nested config, each container before its contents.

    Args:
        node: Dicts, lists and tuples within each other, and what they hold.
        key: Dotted key of ``node``.

    Yields:
        The dotted key, such as ``'model.neck.in_channels.0'``, and the value;
        first ``key`` and ``node`` themselves.
    """
    yield key, node
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, (list, tuple)):
        items = enumerate(node)
    for name, value in items:
        yield from iterate_nested(value, f'{key}.{name}' if key else str(name))


def iterate_dicts(node: Any) -> Iterator[dict[str, Any]]:
    """Every dict in a nested config, from the outside in.

    Args:
        node: As for :func:`iterate_nested`.
    """
    for _, value in iterate_nested(node):
        if isinstance(value, dict):
            yield value


def innermost_datasets(dataset: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The data sets inside of wrappers such as ``ConcatDataset``.

    Args:
        dataset: The ``dataset`` of a loader's config.
    """
    if 'dataset' in dataset:
        yield from innermost_datasets(dataset['dataset'])
    elif 'datasets' in dataset:
        for part in dataset['datasets']:
            yield from innermost_datasets(part)
    else:
        yield dataset


def as_list(node: Any) -> list[Any]:
    """What a config has one or several of, such as evaluators, as a list."""
    if not node:
        return []
    return list(node) if isinstance(node, (list, tuple)) else [node]


def class_name(node: dict[str, Any]) -> str:
    """The name of the class that a dict builds, without scope or module."""
    kind = node.get('type', '')
    kind = kind if isinstance(kind, str) else kind.__name__
    return kind.rpartition('.')[2]
