# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Check that the files of the data are there."""

import os
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from ..engine.errors import UsageError
from ..nested import as_list, class_name, innermost_datasets
from .config_data import SELF_MADE

# Data sets that find their images by `data_root` and `split` alone.
CLASS_FOLDERS = ('ImageNet', 'ImageNet21k', 'CustomDataset')


def check_paths(cfg: Config, phases: Sequence[str]) -> None:
    """Check that the folders and files of the data loaders are there.

    Args:
        cfg: The experiment's config.
        phases: The loaders that will be used, of 'train', 'val', 'test'.

    Raises:
        UsageError: If any is missing; it names the absolute paths of all.
    """
    roots: dict[str, list[str]] = {}  # missing data_root: what belongs in it
    paths: dict[str, bool] = {}  # any other path: whether it is a folder
    for phase in phases:
        loader = cfg.get(f'{phase}_dataloader') or {}
        for dataset in innermost_datasets(loader.get('dataset') or {}):
            if class_name(dataset).startswith(SELF_MADE):
                continue
            parts = _find_paths(dataset)
            root = dataset.get('data_root') or ''
            if root and parts and _is_missing(root, folder=True):
                within = roots.setdefault(os.path.abspath(root), [])
                within += [name for name in parts if name not in within]
            else:
                for part, folder in parts.items():
                    paths[_join_if_local(root, part)] = folder
            paths |= _find_evaluator_files(cfg, phase)
    missing = [
        f'folder {root} with {", ".join(filter(None, within)) or "images"}'
        for root, within in roots.items()
    ]
    for path, folder in paths.items():
        place = os.path.abspath(path)
        # The message has the missing roots already.
        in_missing_root = any(place.startswith(r + os.sep) for r in roots)
        if path and not in_missing_root and _is_missing(path, folder):
            missing.append(f'{"folder" if folder else "file"} {place}')
    if missing:
        raise UsageError(
            f'data is missing: {"; ".join(missing)}. docs/data.md says what '
            'belongs there; data_root in the config names another place.'
        )


def _find_paths(dataset: dict) -> dict[str, bool]:
    """Paths within ``data_root``, and whether each is a folder."""
    ann_file = dataset.get('ann_file') or ''
    prefix = dataset.get('data_prefix') or {}
    if isinstance(prefix, str):
        prefix = {'img': prefix}
    if not prefix and class_name(dataset) in CLASS_FOLDERS:
        prefix = {'img': dataset.get('split') or ''}
    files = {ann_file: False} if ann_file else {}
    return files | {part or '': True for part in prefix.values()}


def _find_evaluator_files(cfg: Config, phase: str) -> dict[str, bool]:
    """Annotation files that the evaluators of a phase name; no folders."""
    evaluators = as_list(cfg.get(f'{phase}_evaluator'))
    files = (evaluator.get('ann_file') for evaluator in evaluators)
    return {path: False for path in files if path}


def _join_if_local(root: str, part: str) -> str:
    """The path of a part, which may be an address of its own."""
    return part if '://' in part else os.path.join(root, part)


def _is_missing(path: str, folder: bool) -> bool:
    """Whether a file is missing, or a folder is missing or empty."""
    if '://' in path:  # not a local path: no check
        return False
    if folder:
        return not Path(path).is_dir() or not any(os.scandir(path))
    return not Path(path).is_file()
