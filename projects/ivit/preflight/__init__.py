# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What is checked before a model is built.

The libraries train in silence on much that does not fit: names of classes
that the annotations do not have, heads of another number of classes, an
evaluator of another data set. Everything here ends in one line that names
the value and what to do.
"""

import logging
import os
from collections.abc import Sequence

from mmengine.config import Config
from mmengine.logging import print_log

from ..annotations import DetectionSplit
from ..annotations.checks import check
from ..annotations.checks.coco_kinds import (
    ANNOTATION_IDS,
    CATEGORY_NAMES,
    COMPUTED_KEY,
)
from ..annotations.checks.masks import SOME_WITHOUT_MASK
from ..annotations.layouts.coco import no_garbage_collection
from ..engine.errors import UsageError
from ..nested import iterate_dicts
from ..own_data.heads import wants_masks
from .classes import (
    check_class_folders,
    check_class_weights,
    check_heads,
    check_names,
    check_same_classes,
)
from .config_data import ConfigDataset, iterate_datasets
from .images import drop_what_is_handled
from .loops import (
    check_batch,
    check_dropped_batch,
    check_evaluators,
    check_loop,
)
from .paths import check_paths
from .values import check_built, check_metrics, check_values
from .widths import check_widths

# Faults that `--data` mends, and that mmdet stops at or takes wrongly.
FATAL_TO_MMDET = (ANNOTATION_IDS, CATEGORY_NAMES, COMPUTED_KEY)

__all__ = ['check_config']


def check_config(
    cfg: Config, phases: Sequence[str], annotations: bool = True
) -> None:
    """Check a config and the data it names; warnings go to the log.

    Args:
        cfg: The experiment's config.
        phases: The loaders that will be used, of ``'train'``, ``'val'`` and
            ``'test'``.
        annotations: Whether annotations and images are looked at; otherwise
            the config alone, and whether the files are there.

    Raises:
        UsageError: If training or testing would fail or be wrong.
    """
    _paths_to_strings(cfg)
    check_values(cfg, phases)
    if 'train' in phases:
        check_loop(cfg)
        check_batch(cfg)
    check_widths(cfg)
    check_paths(cfg, phases)
    datasets = list(iterate_datasets(cfg, phases))
    for dataset in datasets:
        check_built(dataset)
        check_class_folders(dataset)
    check_same_classes(datasets)
    check_heads(cfg, datasets)
    check_class_weights(cfg)
    check_metrics(cfg, phases)
    check_evaluators(cfg, datasets, phases)
    seen = set()
    for dataset in datasets if annotations else ():
        place = (dataset.ann_file, str(dataset.built.data_prefix))
        if place not in seen:
            seen.add(place)
            with no_garbage_collection():
                _check_annotations(cfg, dataset)


def _check_masks(dataset: ConfigDataset, split: DetectionSplit) -> None:
    """Refuse boxes without any mask where the pipeline loads masks."""
    objects = split.coco['annotations']
    if objects and not any(one.get('segmentation') for one in objects):
        raise UsageError(
            f'{dataset.ann_file} has {len(objects)} objects and no mask, and '
            f'{dataset} loads masks. Take a model for boxes, such as '
            'retinanet_ivit_t_coco, or let `ivit train --data` leave the mask '
            'head out'
        )


def _paths_to_strings(cfg: Config) -> None:
    """Replace path objects by strings, which is what mmengine takes."""
    for node in list(iterate_dicts(cfg._cfg_dict)):
        for key, value in node.items():
            if isinstance(value, os.PathLike):
                node[key] = os.fspath(value)


def _check_annotations(cfg: Config, dataset: ConfigDataset) -> None:
    """Read a data set's annotations and check them."""
    data = dataset.read()
    if data is None:
        return
    check_names(dataset, data)
    strict = {*FATAL_TO_MMDET}
    if wants_masks(cfg) and isinstance(
        split := data.splits[dataset.phase], DetectionSplit
    ):
        strict.add(SOME_WITHOUT_MASK)
        _check_masks(dataset, split)
    check_dropped_batch(cfg, dataset, len(data.splits[dataset.phase]))
    check(data, quick=True)
    faults = drop_what_is_handled(data.faults, dataset.config)
    errors = [
        str(fault)
        for fault in faults
        if fault.kind.level == 'error' or fault.kind in strict
    ]
    if errors:
        raise UsageError(f'{dataset}: {"; ".join(errors)}')
    for fault in faults:
        print_log(
            f'{dataset}: {fault}', logger='current', level=logging.WARNING
        )
