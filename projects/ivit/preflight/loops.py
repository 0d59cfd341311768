# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Check that loop, sampler, batch and evaluators go together."""

import os
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from ..engine.errors import UsageError
from ..nested import as_list, class_name, iterate_nested
from .config_data import ConfigDataset

# Heads that pool a whole map to one value a channel, before a norm.
POOLING_HEADS = (
    'ASPPHead',
    'DepthwiseSeparableASPPHead',
    'EncHead',
    'PSPHead',
    'UPerHead',
)
BATCH_NORMS = ('BN', 'BN2d', 'SyncBN')


def check_loop(cfg: Config) -> None:
    """Check the training loop against its sampler.

    Raises:
        UsageError: If an epoch would never end.
    """
    sampler = (cfg.get('train_dataloader') or {}).get('sampler') or {}
    train_cfg = cfg.get('train_cfg') or {}
    endless = class_name(sampler) == 'InfiniteSampler'
    by_epoch = train_cfg.get('by_epoch') or (
        class_name(train_cfg) == 'EpochBasedTrainLoop'
    )
    if endless and by_epoch:
        raise UsageError(
            'train_cfg trains by epochs, and train_dataloader.sampler is an '
            'InfiniteSampler, with which an epoch never ends. Set '
            "train_dataloader.sampler=dict(type='DefaultSampler', "
            'shuffle=True), or train by iterations'
        )


def check_batch(cfg: Config) -> None:
    """Check that batch norm has more than one value to normalise.

    Raises:
        UsageError: If a process trains on one image at a time and a head
            normalises what it pooled from the whole image.
    """
    if (cfg.get('train_dataloader') or {}).get('batch_size') != 1:
        return
    if cfg.get('launcher', 'none') != 'none' and cfg.get('sync_bn'):
        return  # the statistics are shared with other processes
    for key, node in iterate_nested(cfg.model, 'model'):
        if not isinstance(node, dict) or class_name(node) not in POOLING_HEADS:
            continue
        norm = node.get('norm_cfg') or {}
        if class_name(norm) in BATCH_NORMS:
            raise UsageError(
                f'train_dataloader.batch_size=1, and {key} ({node["type"]}) '
                'has batch norm behind a pooling of the whole image, which '
                'needs two images at least. Set '
                'train_dataloader.batch_size=2, or '
                f"{key}.norm_cfg=dict(type='GN', num_groups=32)"
            )


def check_dropped_batch(
    cfg: Config, dataset: ConfigDataset, number: int
) -> None:
    """Check that a data set fills a batch where others are dropped.

    Raises:
        UsageError: If every batch of the training would be dropped.
    """
    loader = cfg.get('train_dataloader') or {}
    size = loader.get('batch_size')
    is_alone = loader.get('dataset') is dataset.config
    if (
        dataset.phase == 'train'
        and is_alone
        and loader.get('drop_last')
        and isinstance(size, int)
        and number < size
    ):
        raise UsageError(
            f'train_dataloader.batch_size={size} and drop_last=True, and '
            f'there are {number} images: nothing would be trained on. Set '
            f'batch_size={number} or less'
        )


def check_evaluators(
    cfg: Config, datasets: Sequence[ConfigDataset], phases: Sequence[str]
) -> None:
    """Check that evaluators compare with the annotations of their loader.

    Raises:
        UsageError: If an evaluator names another file, or wants masks that
            the model does not give.
    """
    for phase in phases:
        files = [
            dataset.ann_file
            for dataset in datasets
            if dataset.phase == phase and dataset.ann_file
        ]
        for evaluator in as_list(cfg.get(f'{phase}_evaluator')):
            _check_masks(cfg, evaluator, phase)
            named = evaluator.get('ann_file')
            if not named or not files or '://' in named:
                continue
            if all(_resolve(named) != _resolve(file) for file in files):
                raise UsageError(
                    f'{phase}_evaluator.ann_file={named!r} is not the '
                    f'annotation file of {phase}_dataloader, {files[0]!r}: '
                    'predictions would be compared with the wrong objects. '
                    'Name the same file in both'
                )


def _check_masks(cfg: Config, evaluator: dict[str, Any], phase: str) -> None:
    """Refuse the AP of masks for a model of boxes."""
    roi_head = cfg.model.get('roi_head')
    if not roi_head or roi_head.get('mask_head'):
        return
    if 'segm' in as_list(evaluator.get('metric')):
        raise UsageError(
            f'{phase}_evaluator.metric={evaluator["metric"]!r}, and '
            'model.roi_head has no mask_head. Set '
            f"{phase}_evaluator.metric='bbox'"
        )


def _resolve(path: str) -> str:
    return os.path.realpath(path)
