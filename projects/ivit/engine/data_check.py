# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Say what data is missing before anything is built."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.config import Config

from .errors import UsageError

# Data sets that make or download their files on first use.
SELF_MADE = ('Shapes', 'CIFAR', 'MNIST', 'FashionMNIST')
# Data sets whose images may be named by `data_root` and `split` alone.
CLASS_FOLDERS = ('ImageNet', 'ImageNet21k', 'CustomDataset')


def check_data(cfg: Config, phases: Sequence[str]) -> None:
    """Check that the folders and files of the data loaders are there.

    Args:
        cfg: The experiment's config.
        phases: The loaders that will be used, of 'train', 'val', 'test'.

    Raises:
        UsageError: If any is missing; all of them are named, absolute.
    """
    missing: dict[str, None] = {}  # ordered, each once
    for phase in phases:
        loader = cfg.get(f'{phase}_dataloader') or {}
        for dataset in _leaves(loader.get('dataset') or {}):
            missing.update(dict.fromkeys(_missing(dataset)))
            if not _is_self_made(dataset):
                evaluators = cfg.get(f'{phase}_evaluator') or []
                missing.update(dict.fromkeys(_missing_answers(evaluators)))
    if missing:
        raise UsageError(
            f'data is missing: {"; ".join(missing)}. docs/data.md says what '
            'to put there; --cfg-options and data_root in '
            'configs/_base_/datasets name another place.'
        )


def _leaves(dataset: dict) -> Iterator[dict]:
    """The data sets inside wrappers such as Concat, Repeat, ClassBalanced."""
    if 'dataset' in dataset:
        yield from _leaves(dataset['dataset'])
    elif 'datasets' in dataset:
        for part in dataset['datasets']:
            yield from _leaves(part)
    else:
        yield dataset


def _name(dataset: dict) -> str:
    kind = dataset.get('type', 'data set')
    kind = kind if isinstance(kind, str) else kind.__name__
    return kind.rpartition('.')[2]


def _is_self_made(dataset: dict) -> bool:
    return _name(dataset).startswith(SELF_MADE)


def _missing(dataset: dict) -> list[str]:
    """What the data set names and is not there."""
    if _is_self_made(dataset):
        return []
    name = _name(dataset)
    root = dataset.get('data_root') or ''
    ann_file = dataset.get('ann_file') or ''
    prefix = dataset.get('data_prefix') or {}
    if isinstance(prefix, str):
        prefix = {'img': prefix}
    if name in CLASS_FOLDERS and not prefix:
        prefix = {'img': dataset.get('split') or ''}
    folders = [_join(root, part or '') for part in prefix.values()]
    files = [_join(root, ann_file)] if ann_file else []
    if root and (folders or files) and _absent(root, folder=True):
        parts = [part for part in (ann_file, *prefix.values()) if part]
        return [f'folder {_absolute(root)} with {", ".join(parts)} ({name})']
    return [
        f'file {_absolute(path)} ({name})'
        for path in files
        if _absent(path, folder=False)
    ] + [
        f'folder {_absolute(path)} with images in it ({name})'
        if 'img' in key
        else f'folder {_absolute(path)} with {key} in it ({name})'
        for key, path in zip(prefix, folders, strict=True)
        if path and _absent(path, folder=True)
    ]


def _missing_answers(evaluators: dict | Sequence[dict]) -> list[str]:
    """Annotation files that evaluators name and that are not there."""
    if isinstance(evaluators, dict):
        evaluators = [evaluators]
    return [
        f'file {_absolute(evaluator["ann_file"])} '
        f'(ann_file of the evaluator {evaluator.get("type")})'
        for evaluator in evaluators
        if evaluator.get('ann_file')
        and _absent(evaluator['ann_file'], folder=False)
    ]


def _join(root: str, part: str) -> str:
    return part if '://' in part else os.path.join(root, part)


def _absolute(path: str) -> str:
    return os.path.abspath(path)


def _absent(path: str, folder: bool) -> bool:
    """Whether a local file is missing or a local folder missing or empty."""
    if '://' in path:  # another storage backend
        return False
    if folder:
        return not Path(path).is_dir() or not any(os.scandir(path))
    return not Path(path).is_file()
