# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Check values that data sets and evaluators fail on or pass over."""

import inspect
import logging
import os
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import METRICS

from ..engine.errors import UsageError, listed
from ..frameworks import FRAMEWORKS
from ..nested import as_list, class_name, iterate_dicts
from .config_data import ConfigDataset, innermost_of_loaders

# The key that metainfo had before mmengine.
OLD_KEY = 'CLASSES'
# The keys of `data_prefix` without which data sets find no files.
PREFIXES = dict(
    CocoDataset=('img',), BaseSegDataset=('img_path', 'seg_map_path')
)


def check_values(cfg: Config, phases: Sequence[str]) -> None:
    """Refuse what mmengine's data sets fail on or pass over.

    Args:
        cfg: The experiment's config.
        phases: The loaders, of ``'train'``, ``'val'`` and ``'test'``.

    Raises:
        UsageError: If a value is of a kind that no data set takes.
    """
    for phase in phases:
        _check_loader(cfg, phase)
        for evaluator in as_list(cfg.get(f'{phase}_evaluator')):
            _refuse_list(evaluator, f'{phase}_evaluator')
    for phase, dataset in innermost_of_loaders(cfg, phases):
        place = f'{phase}_dataloader.dataset'
        _refuse_list(dataset, place)
        _check_metainfo(dataset.get('metainfo') or {}, f'{place}.metainfo')


def check_built(dataset: ConfigDataset) -> None:
    """Check what a data set's class makes of its config.

    Raises:
        UsageError: If it would not find its files, or reads label maps in
            another way than its pipeline.
    """
    kinds = {cls.__name__ for cls in type(dataset.built).__mro__}
    place = f'{dataset}.dataset'
    if 'CocoDataset' in kinds and not dataset.ann_file:
        raise UsageError(
            f'{place} has no ann_file. Set it to the JSON with the objects'
        )
    for kind in kinds & PREFIXES.keys():
        given = dataset.built.data_prefix
        for key in PREFIXES[kind]:
            if given and key not in given:
                wanted = ', '.join(f'{one}=...' for one in PREFIXES[kind])
                raise UsageError(
                    f'{place}.data_prefix has the keys {listed([*given])}, '
                    f'and {type(dataset.built).__name__} reads {key!r}. Set '
                    f'data_prefix=dict({wanted})'
                )
    if 'BaseSegDataset' in kinds:
        _check_zero_label(dataset)


def check_metrics(cfg: Config, phases: Sequence[str]) -> None:
    """Build the evaluators, without the annotations that they would read.

    Raises:
        UsageError: If one refuses its arguments.
    """
    scope = cfg.get('default_scope')
    if scope not in FRAMEWORKS:
        return
    with METRICS.switch_scope_and_registry(scope) as registry:
        for phase in phases:
            for evaluator in as_list(cfg.get(f'{phase}_evaluator')):
                kind = evaluator.get('type')
                cls = registry.get(kind) if isinstance(kind, str) else kind
                if inspect.isclass(cls):
                    _try_metric(cls, evaluator, f'{phase}_evaluator')


def _try_metric(cls: type, evaluator: dict[str, Any], place: str) -> None:
    """Build an evaluator without its annotation file."""
    options = dict(evaluator)
    for key in ('type', '_scope_'):  # what the registry takes out
        options.pop(key, None)
    if options.get('ann_file'):
        options['ann_file'] = None  # reading it takes long
    if 'prefix' in inspect.signature(cls).parameters:
        options.setdefault('prefix', cls.__name__)  # none is a warning
    try:
        cls(**options)
    except (AssertionError, KeyError, TypeError) as error:
        raise UsageError(
            f'{place} ({cls.__name__}) refuses its options: '
            f'{error.args[0] if error.args else error}'
        ) from error


def _check_loader(cfg: Config, phase: str) -> None:
    """Check what a runner needs beside the data set."""
    loader = cfg.get(f'{phase}_dataloader')
    if phase != 'train':
        keys = [f'{phase}_{end}' for end in ('dataloader', 'cfg', 'evaluator')]
        absent = [key for key in keys if not cfg.get(key)]
        if 0 < len(absent) < len(keys) and cfg.get(f'{phase}_cfg') != {}:
            raise UsageError(
                f'the config has no {", ".join(absent)}: {", ".join(keys)} go '
                'together. Add what is missing, or set all of them to None'
            )
    if not isinstance(loader, dict):
        return
    if not isinstance(loader.get('dataset'), dict):
        raise UsageError(
            f'{phase}_dataloader.dataset is no dict. '
            "dict(type='ConcatDataset', datasets=[...]) joins several data "
            'sets'
        )
    sampler = loader.get('sampler')
    if not sampler and not loader.get('batch_sampler'):
        raise UsageError(
            f'{phase}_dataloader has no sampler. Set it to '
            f"dict(type='DefaultSampler', shuffle={phase == 'train'})"
        )
    if phase != 'train' and class_name(sampler or {}) == 'InfiniteSampler':
        raise UsageError(
            f'{phase}_dataloader.sampler is an InfiniteSampler, with which '
            "an evaluation never ends. Set it to dict(type='DefaultSampler', "
            'shuffle=False)'
        )


def _refuse_list(node: dict[str, Any], place: str) -> None:
    """Refuse several annotation files in place of one."""
    ann_file = node.get('ann_file')
    if isinstance(ann_file, (list, tuple)):
        raise UsageError(
            f'{place}.ann_file={list(ann_file)!r}: it has to be one '
            "annotation file. dict(type='ConcatDataset', datasets=[...]) "
            'joins several data sets'
        )


def _check_metainfo(metainfo: Any, place: str) -> None:
    """Check the names and colours of classes."""
    if not isinstance(metainfo, dict):
        raise UsageError(
            f'{place}={metainfo!r} has to be a dict, as in '
            "dict(classes=('cat', 'dog'))"
        )
    if OLD_KEY in metainfo:
        raise UsageError(
            f'{place} has the key {OLD_KEY!r}, which nothing reads: it is '
            "'classes', as in metainfo=dict(classes="
            f'{tuple(metainfo[OLD_KEY])!r})'
        )
    classes = metainfo.get('classes')
    if classes is None:
        return
    if isinstance(classes, str):
        if os.path.isfile(classes):
            return  # a name a line, as mmengine reads it
        raise UsageError(
            f'{place}.classes={classes!r} is one string, each letter of which '
            f'would be a class. Set it to ({classes!r},), with the comma'
        )
    if not isinstance(classes, (list, tuple)):
        raise UsageError(
            f'{place}.classes={classes!r} has to be a tuple of names, as in '
            "('cat', 'dog')"
        )
    twice = sorted({str(n) for n in classes if classes.count(n) > 1})
    if twice:
        raise UsageError(
            f'{place}.classes has {listed(twice)} more than once. Name each '
            'class once'
        )
    palette = metainfo.get('palette')
    if isinstance(palette, (list, tuple)) and len(palette) < len(classes):
        print_log(
            f'{place} has {len(palette)} colours for {len(classes)} classes, '
            'so predictions cannot be drawn. Give a colour for each class, or '
            'leave palette out',
            logger='current',
            level=logging.WARNING,
        )


def _check_zero_label(dataset: ConfigDataset) -> None:
    """Check that data set and pipeline agree on the label 0."""
    wanted = dataset.built.reduce_zero_label
    for step in iterate_dicts(dataset.config.get('pipeline') or []):
        given = step.get('reduce_zero_label')
        if given is not None and given != wanted:
            raise UsageError(
                f'{dataset}.dataset.reduce_zero_label={wanted}, and '
                f'{class_name(step)} of its pipeline has {given}. Set it in '
                'the data set alone'
            )
