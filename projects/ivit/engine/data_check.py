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
    roots: dict[str, list[str]] = {}  # missing folders and what goes there
    paths: dict[str, bool] = {}  # other paths, and whether each is a folder
    for phase in phases:
        loader = cfg.get(f'{phase}_dataloader') or {}
        for dataset in _leaves(loader.get('dataset') or {}):
            if _name(dataset).startswith(SELF_MADE):
                continue
            parts = _parts(dataset)
            root = dataset.get('data_root') or ''
            if root and parts and _absent(root, folder=True):
                within = roots.setdefault(os.path.abspath(root), [])
                within += [name for name in parts if name not in within]
            else:
                paths |= {_join(root, part): parts[part] for part in parts}
            paths |= _answers(cfg, phase)
    told = [
        f'folder {root} with {", ".join(filter(None, within)) or "images"}'
        for root, within in roots.items()
    ]
    for path, folder in paths.items():
        place = os.path.abspath(path)
        # What lies in a folder that is named already goes without saying.
        named = any(place.startswith(root + os.sep) for root in roots)
        if path and not named and _absent(path, folder):
            told.append(f'{"folder" if folder else "file"} {place}')
    if told:
        raise UsageError(
            f'data is missing: {"; ".join(told)}. docs/data.md says what '
            'belongs there; data_root in the config names another place.'
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


def _parts(dataset: dict) -> dict[str, bool]:
    """Paths that belong to a data set, and whether each is a folder."""
    ann_file = dataset.get('ann_file') or ''
    prefix = dataset.get('data_prefix') or {}
    if isinstance(prefix, str):
        prefix = {'img': prefix}
    if not prefix and _name(dataset) in CLASS_FOLDERS:
        prefix = {'img': dataset.get('split') or ''}
    files = {ann_file: False} if ann_file else {}
    return files | {part or '': True for part in prefix.values()}


def _answers(cfg: Config, phase: str) -> dict[str, bool]:
    """The annotation files that the phase's evaluators name."""
    evaluators = cfg.get(f'{phase}_evaluator') or []
    if isinstance(evaluators, dict):
        evaluators = [evaluators]
    files = (evaluator.get('ann_file') for evaluator in evaluators)
    return {path: False for path in files if path}


def _join(root: str, part: str) -> str:
    return part if '://' in part else os.path.join(root, part)


def _absent(path: str, folder: bool) -> bool:
    """Whether a local file is missing or a local folder missing or empty."""
    if '://' in path:  # another storage backend
        return False
    if folder:
        return not Path(path).is_dir() or not any(os.scandir(path))
    return not Path(path).is_file()
