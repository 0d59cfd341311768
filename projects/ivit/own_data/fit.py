# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Fit a config to data: heads, loaders, evaluators and schedule."""

from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..annotations import AnnotatedData, DetectionSplit
from ..engine.errors import UsageError
from ..nested import (
    as_list,
    class_name,
    innermost_datasets,
    iterate_dicts,
)
from .foreign import refuse_other_annotations
from .heads import remove_masks, set_class_counts, wants_masks
from .schedule import fit_schedule
from .write import WrittenSplit, write_splits

#: The task of each framework.
TASKS = dict(
    mmdet='detection', mmseg='segmentation', mmpretrain='classification'
)
# What a data set of the config keeps, whatever the data is.
KEPT = ('pipeline', 'filter_cfg', 'test_mode', 'backend_args')
FOLDER = 'data'
REPEATER = 'RepeatDataset'
# Evaluators of annotations in other forms than the one that is written.
FOREIGN_METRICS = (
    'CityScapesMetric',
    'CrowdHumanMetric',
    'DODCocoMetric',
    'Flickr30kMetric',
    'LVISMetric',
    'OpenImagesMetric',
    'RefExpMetric',
    'VOCMetric',
    'MultiLabelMetric',
    'VOCAveragePrecision',
    'VOCMultiLabelMetric',
)


def task_of(cfg: Config) -> str:
    """The task of a config, by its framework.

    Raises:
        UsageError: If the config is of no framework that has data.
    """
    scope = cfg.get('default_scope')
    if scope not in TASKS:
        raise UsageError(
            f'default_scope={scope!r} of the config is none of '
            f'{", ".join(TASKS)}, so --data cannot be fitted to it'
        )
    return TASKS[scope]


def fit_config(
    cfg: Config,
    data: AnnotatedData,
    num_processes: int = 1,
    epochs: int | None = None,
) -> list[str]:
    """Fit an experiment's config to data, in place.

    Files that the frameworks need are written to ``data`` in the work dir.

    Args:
        cfg: The config, with ``work_dir`` set.
        data: The data, with a validation split and without errors.
        num_processes: Number of processes that train together.
        epochs: See :func:`fit_schedule`.

    Returns:
        What was changed and decided, in sentences.

    Raises:
        UsageError: If the config's model cannot be trained on the data.
    """
    if data.task != task_of(cfg):
        raise UsageError(
            f'{data.root} has annotations for {data.task} ({data.layout}), '
            f'and the config is for {task_of(cfg)}'
        )
    if len(set(data.classes)) < 1:
        raise UsageError(f'{data.root} has no class that has objects')
    if data.task != 'classification':
        data.palette = data.colors
    refuse_other_annotations(cfg)
    notes = set_class_counts(cfg, len(data.classes))
    if data.task == 'detection' and wants_masks(cfg):
        if data.has_masks:
            _refuse_splits_without_masks(data)
        else:
            notes.append(remove_masks(cfg))
    written, more = write_splits(data, Path(cfg.work_dir, FOLDER))
    notes += more
    repeats = _set_loaders(cfg, written)
    notes += _set_evaluators(cfg, written, len(data.classes))
    if data.task == 'segmentation':
        _keep_label_zero(cfg)
    number = written['train'].num_images
    return notes + fit_schedule(cfg, number, num_processes, epochs, repeats)


def _refuse_splits_without_masks(data: AnnotatedData) -> None:
    """Check that splits have masks or none of them has."""
    for name, split in data.splits.items():
        if not isinstance(split, DetectionSplit):
            continue
        objects = split.coco['annotations']
        if objects and not any(one.get('segmentation') for one in objects):
            raise UsageError(
                f'{split.ann_file or data.root} ({name}) has '
                f'{len(objects)} objects and no mask, and other splits have '
                'masks. Add them, or take a model for boxes, such as '
                'retinanet_ivit_t_coco'
            )


def _set_loaders(cfg: Config, written: dict[str, WrittenSplit]) -> int:
    """Give each loader its split; without a test split it is validation.

    Returns:
        How often an epoch of the config went through its data.
    """
    repeats = 1
    for phase in ('train', 'val', 'test'):
        split = written.get(phase, written['val'])
        loader = cfg.get(f'{phase}_dataloader')
        if not loader:
            raise UsageError(
                f'the config has no {phase}_dataloader, which --data fills'
            )
        wrapped = loader['dataset']
        inner = next(innermost_datasets(wrapped))
        dataset = dict(split.dataset)
        dataset |= {key: inner[key] for key in KEPT if key in inner}
        if phase != 'train':
            dataset['test_mode'] = True
            if cfg.default_scope == 'mmseg':
                # mmseg does not evaluate images of several sizes at once.
                loader['batch_size'] = 1
        else:
            repeats = _count_repeats(wrapped)
        loader['dataset'] = _replace_innermost(wrapped, dataset)
    cfg.data_root = ''
    return repeats


def _count_repeats(wrapped: dict[str, Any]) -> int:
    """How often a data set's wrappers repeat it."""
    inner = wrapped.get('dataset')
    if inner is None:
        return 1
    times = wrapped['times'] if class_name(wrapped) == REPEATER else 1
    return times * _count_repeats(inner)


def _replace_innermost(
    wrapped: dict[str, Any], dataset: dict[str, Any]
) -> dict[str, Any]:
    """A data set in the wrappers of another.

    Several data sets become one. Nothing is repeated: an epoch goes through
    the images once.
    """
    if 'datasets' in wrapped:
        return dataset
    if class_name(wrapped) == REPEATER:
        return _replace_innermost(wrapped['dataset'], dataset)
    if 'dataset' in wrapped:
        inner = _replace_innermost(wrapped['dataset'], dataset)
        return dict(wrapped, dataset=inner)
    return dataset


def _set_evaluators(
    cfg: Config, written: dict[str, WrittenSplit], num_classes: int
) -> list[str]:
    """Give evaluators the annotations of their loader.

    Returns:
        Which evaluators were replaced, in words.
    """
    notes: dict[str, None] = {}
    for phase in ('val', 'test'):
        split = written.get(phase, written['val'])
        key = f'{phase}_evaluator'
        replaced = _replace_foreign(as_list(cfg.get(key)), cfg)
        if replaced is not None:
            before, cfg[key] = replaced
            names = ', '.join(class_name(one) for one in cfg[key])
            notes[f'evaluators: {", ".join(before)} -> {names}'] = None
        for evaluator in as_list(cfg.get(key)):
            if split.ann_file and 'ann_file' in evaluator:
                evaluator['ann_file'] = split.ann_file
            topk = evaluator.get('topk')
            if topk:
                fitting = tuple(k for k in as_list(topk) if k <= num_classes)
                evaluator['topk'] = fitting or (1,)
    return list(notes)


def _replace_foreign(
    evaluators: list[dict[str, Any]], cfg: Config
) -> tuple[list[str], list[dict[str, Any]]] | None:
    """Replace evaluators that read another form of annotations.

    Returns:
        Names of those that go, and those that are left or come; None if none
        goes.
    """
    foreign = [e for e in evaluators if class_name(e) in FOREIGN_METRICS]
    if not foreign:
        return None
    left = [e for e in evaluators if e not in foreign]
    if not left and cfg.default_scope == 'mmdet':
        metric = ['bbox', 'segm'] if wants_masks(cfg) else ['bbox']
        left = [dict(type='CocoMetric', ann_file='', metric=metric)]
    elif not left:
        left = [dict(type='Accuracy', topk=(1, 5))]
    return [class_name(e) for e in foreign], left


def _keep_label_zero(cfg: Config) -> None:
    """Let label maps be read as they are: 0 is a class by now."""
    for node in iterate_dicts(cfg._cfg_dict):
        if node.get('reduce_zero_label'):
            node['reduce_zero_label'] = False
