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

from ..annotations.checks import check
from ..annotations.checks.detection import COMPUTABLE
from ..engine.errors import UsageError
from ..nested import iterate_dicts
from ..own_data.heads import wants_masks
from .classes import check_class_folders, check_heads, check_names
from .config_data import ConfigDataset, check_values, iterate_datasets
from .images import drop_what_is_handled
from .loops import check_batch, check_evaluators, check_loop
from .paths import check_paths
from .widths import check_widths

__all__ = ['check_config']


def check_config(cfg: Config, phases: Sequence[str]) -> None:
    """Check a config and the data it names; warnings go to the log.

    Args:
        cfg: The experiment's config.
        phases: The loaders that will be used, of ``'train'``, ``'val'`` and
            ``'test'``.

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
        check_class_folders(dataset)
    check_heads(cfg, datasets)
    check_evaluators(cfg, datasets)
    seen = set()
    for dataset in datasets:
        place = (dataset.ann_file, str(dataset.built.data_prefix))
        if place not in seen:
            seen.add(place)
            _check_annotations(cfg, dataset)


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
    check(data, quick=True, masks=wants_masks(cfg))
    faults = drop_what_is_handled(data.faults, dataset.config)
    errors = [
        str(fault)
        for fault in faults
        if fault.kind.level == 'error' or fault.kind is COMPUTABLE
    ]
    if errors:
        raise UsageError(f'{dataset}: {"; ".join(errors)}')
    for fault in faults:
        print_log(
            f'{dataset}: {fault}', logger='current', level=logging.WARNING
        )
