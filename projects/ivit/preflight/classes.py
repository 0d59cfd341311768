# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Check that classes are the same in annotations, data sets and heads."""

import difflib
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..annotations import AnnotatedData, DetectionSplit
from ..engine.errors import UsageError, listed
from ..nested import iterate_nested
from ..own_data.heads import iterate_class_counts, state_class_counts
from .config_data import ConfigDataset


def check_names(dataset: ConfigDataset, data: AnnotatedData) -> None:
    """Check a data set's classes against its annotation file.

    mmdet keeps the objects of the classes that the file has, and numbers them
    in the file's order, without a word on the others.

    Raises:
        UsageError: If a class is not in the file, or the order differs.
    """
    split = data.splits[dataset.phase]
    if not isinstance(split, DetectionSplit):
        return
    classes = dataset.classes or ()
    names = [str(c.get('name')) for c in split.coco['categories']]
    place = f'{dataset}.dataset.metainfo'
    absent = [name for name in classes if name not in names]
    if absent:
        raise UsageError(
            f'{dataset.ann_file} has no category '
            f'{listed(absent)}, which '
            f'{_origin(dataset)} names'
            f'{_suggest(absent[0], names)}. It has: {listed(names)}. Set '
            f'{place}=dict(classes=(...)) to names of the file'
        )
    order = [name for name in names if name in classes]
    if order != list(classes):
        raise UsageError(
            f'{place} has the classes in the order {listed(classes)}, and '
            f'{dataset.ann_file} has {listed(order)}. mmdet numbers them as '
            'the file does, so all names would be wrong. Give them in the '
            "file's order"
        )


def check_class_folders(dataset: ConfigDataset) -> None:
    """Check the classes of a classifier's data against its folders.

    Raises:
        UsageError: If there are more or fewer folders than classes.
    """
    built = dataset.built
    kinds = {cls.__name__ for cls in type(built).__mro__}
    if 'CustomDataset' not in kinds or dataset.ann_file:
        return
    if not built.with_label:
        return
    folder = Path(built.img_prefix)
    names = sorted(
        entry.name for entry in os.scandir(folder) if entry.is_dir()
    )
    if dataset.classes is None:
        dataset.classes = tuple(names)
    elif len(names) != len(dataset.classes):
        raise UsageError(
            f'{folder} has {len(names)} folders ({listed(names)}), and '
            f'{_origin(dataset)} has {len(dataset.classes)} classes. A data '
            "set of your own has type='CustomDataset', whose classes are the "
            'folders'
        )


def check_heads(cfg: Config, datasets: Sequence[ConfigDataset]) -> None:
    """Check the number of classes of every head.

    Raises:
        UsageError: If a data set has no classes, or a head has another number
            than a data set.
    """
    if datasets:
        state_class_counts(cfg)
    counts: dict[str, Any] = dict(iterate_class_counts(cfg.model))
    for dataset in datasets:
        if not dataset.classes:
            if dataset.phase == 'train' and cfg.default_scope != 'mmseg':
                continue
            raise UsageError(
                f'{dataset}.dataset has no names of classes. Add '
                'metainfo=dict(classes=(...)) to it'
            )
        number = len(dataset.classes)
        for key, count in counts.items():
            if count != number and not key.endswith('things_classes'):
                raise UsageError(
                    f'{key}={count}, and {dataset}.dataset has {number} '
                    f'classes: {listed(dataset.classes)}. Set {key}={number}'
                )


def check_same_classes(datasets: Sequence[ConfigDataset]) -> None:
    """Check that all data sets have the same classes in the same order.

    Raises:
        UsageError: If two differ.
    """
    named = [dataset for dataset in datasets if dataset.classes]
    for first, other in itertools.pairwise(named):
        if set(first.classes or ()) == set(other.classes or ()) and (
            first.classes != other.classes
        ):
            raise UsageError(
                f'{other}.dataset.metainfo has the classes in the order '
                f'{listed(other.classes or ())}, and {first} has '
                f'{listed(first.classes or ())}. The same index would be two '
                'classes. Give all the same order'
            )


def check_class_weights(cfg: Config) -> None:
    """Check that losses have as many weights as there are classes.

    Raises:
        UsageError: If a loss has another number of weights.
    """
    for key, count in iterate_class_counts(cfg.model):
        place = key.rpartition('.')[0]
        head: Any = {'model': cfg.model}
        for part in place.split('.'):
            head = head[int(part) if part.isdigit() else part]
        for inner, node in iterate_nested(head, place):
            if not inner.endswith('.class_weight'):
                continue
            # mmdet may have one more, for the background.
            if isinstance(node, (list, tuple)) and len(node) not in (
                count,
                count + 1,
            ):
                raise UsageError(
                    f'{inner} has {len(node)} weights for the {count} classes '
                    f'of {key}. Give a weight for each class, or None'
                )


def _origin(dataset: ConfigDataset) -> str:
    """Where a data set's classes come from."""
    metainfo = dataset.config.get('metainfo') or {}
    if metainfo.get('classes') is not None:
        return f'{dataset}.dataset.metainfo'
    return (
        f'{type(dataset.built).__name__} by default, as '
        f'{dataset}.dataset has no metainfo,'
    )


def _suggest(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, 1)
    near = near or [n for n in names if n.lower() == name.lower()]
    return f' (did you mean {near[0]!r}?)' if near else ''
