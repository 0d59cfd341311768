# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Fit a schedule to the number of images.

Configs have schedules for data sets of 20,000 to 1,300,000 images. The rules
by which they are shortened or stretched here are our own.
"""

import itertools
import math
from typing import Any

from mmengine.config import Config

from ..engine.errors import UsageError
from ..nested import as_list

# A small data set is gone through more often, until it has given so many
# steps or has been gone through so many times.
MIN_STEPS = 1500
MAX_EPOCHS = 100
WARM_UP_SHARE = 0.1
EVALUATIONS = 10
LOG_INTERVAL = 50
# Keys of schedulers that count epochs or iterations.
LENGTHS = ('begin', 'end', 'T_max', 'milestones', 'step_size', 'total_steps')
# Keys of hooks that change something at an epoch.
HOOK_LENGTHS = ('switch_epoch', 'num_last_epochs', 'begin_epoch')


def fit_schedule(
    cfg: Config,
    num_images: int,
    num_processes: int,
    epochs: int | None,
    repeats: int = 1,
) -> list[str]:
    """Fit batch size, epochs, schedulers and intervals, in place.

    Args:
        cfg: The experiment's config.
        num_images: Number of training images.
        num_processes: Number of processes that train together.
        epochs: How often to go through the images; by default as often as
            the config does, and more often where that gives less than
            ``MIN_STEPS`` steps.
        repeats: How often an epoch of the config goes through its images,
            where one of the new schedule does so once.

    Returns:
        What was decided, in sentences.

    Raises:
        UsageError: If ``epochs`` is less than 1, or the loop is unknown.
    """
    if epochs is not None and epochs < 1:
        raise UsageError(f'--epochs {epochs}: at least 1 is needed')
    loader = cfg.train_dataloader
    notes = []
    per_process = max(1, num_images // num_processes)
    if loader.batch_size > per_process:
        notes.append(
            f'batch_size {loader.batch_size} -> {per_process}, since there '
            f'are {num_images} images'
        )
        loader.batch_size = per_process
    total_batch = loader.batch_size * num_processes
    steps = math.ceil(num_images / total_batch)
    train_cfg = cfg.train_cfg
    by_epoch = 'max_epochs' in train_cfg
    if not by_epoch and 'max_iters' not in train_cfg:
        raise UsageError(
            'train_cfg of the config has neither max_epochs nor max_iters, '
            'so its schedule cannot be fitted to the data'
        )
    if epochs is None:
        epochs = min(MAX_EPOCHS, math.ceil(MIN_STEPS / steps))
        if by_epoch:
            epochs = max(train_cfg.max_epochs * repeats, epochs)
        else:
            epochs = max(epochs, min(MAX_EPOCHS, train_cfg.max_iters // steps))
    before = train_cfg.max_epochs if by_epoch else train_cfg.max_iters
    after = epochs if by_epoch else epochs * steps
    _scale_schedulers(cfg, before, after, by_epoch, epochs * steps)
    interval = max(1, epochs // EVALUATIONS)
    if not by_epoch:
        interval *= steps
    train_cfg['max_epochs' if by_epoch else 'max_iters'] = after
    train_cfg.val_interval = interval
    # A second interval for the last epochs, of an epoch that is not there.
    train_cfg.pop('dynamic_intervals', None)
    _set_hooks(cfg, interval, steps)
    for hook in as_list(cfg.get('custom_hooks')):
        for key in HOOK_LENGTHS if by_epoch else ():
            if hook.get(key):
                hook[key] = _scale(hook[key], after / before)
    for key in ('max_epochs', 'max_iters'):  # variables of our configs
        if key in cfg:
            cfg[key] = after
    notes.append(
        f'{epochs} epochs of {steps} steps of {total_batch} images, evaluated '
        f'every {interval} {"epochs" if by_epoch else "steps"}'
    )
    return notes + _scale_learning_rate(cfg, total_batch)


def _scale_schedulers(
    cfg: Config, before: int, after: int, by_epoch: bool, total_steps: int
) -> None:
    """Stretch every scheduler from the old length to the new one.

    A warm-up in iterations beside a schedule in epochs keeps its length, as
    long as it is at most a tenth of the training.
    """
    schedulers = as_list(cfg.get('param_scheduler'))
    for scheduler in schedulers:
        unit_is_epoch = scheduler.get('by_epoch', True)
        for key in LENGTHS:
            value = scheduler.get(key)
            if value is None:
                continue
            if unit_is_epoch == by_epoch and not _is_warm_up(
                scheduler, before
            ):
                scheduler[key] = _scale(value, after / before)
            elif unit_is_epoch == by_epoch:
                scheduler[key] = _shorten(value, after)
            else:
                scheduler[key] = _shorten(value, total_steps)
    _join_warm_up(schedulers)
    # A training of a few steps may be all warm-up: then it has none.
    whole = [s for s in schedulers if s.get('begin', 0) < s.get('end', after)]
    if len(whole) < len(schedulers):
        for scheduler in schedulers:
            scheduler['begin'] = 0
        cfg.param_scheduler = schedulers[-1:]


def _is_warm_up(scheduler: dict[str, Any], length: int) -> bool:
    """Whether a scheduler covers only the first part of a training."""
    end = scheduler.get('end')
    return not scheduler.get('begin') and end is not None and end < length / 2


def _scale(value: Any, factor: float) -> Any:
    """A length, or several, in proportion, and at least 1 if not 0."""
    if isinstance(value, (list, tuple)):
        return [_scale(one, factor) for one in value]
    return max(1, round(value * factor)) if value else value


def _shorten(value: Any, length: int) -> Any:
    """A length of a warm-up, at most a share of the training."""
    if isinstance(value, (list, tuple)):
        return [_shorten(one, length) for one in value]
    return min(value, max(1, round(WARM_UP_SHARE * length)))


def _join_warm_up(schedulers: list[dict[str, Any]]) -> None:
    """Let what follows the warm-up begin where that ends."""
    for first, second in itertools.pairwise(schedulers):
        same_unit = first.get('by_epoch', True) == second.get('by_epoch', True)
        if same_unit and second.get('begin') and first.get('end'):
            second['begin'] = first['end']
            if second.get('T_max') and second.get('end'):
                second['T_max'] = second['end'] - second['begin']


def _set_hooks(cfg: Config, interval: int, steps: int) -> None:
    """Save when it is evaluated, keep the best, log every epoch or more."""
    hooks = cfg.setdefault('default_hooks', {})
    checkpoint = hooks.get('checkpoint')
    if checkpoint:
        checkpoint.interval = interval
        if not isinstance(checkpoint.get('save_best'), str):
            checkpoint.save_best = 'auto'
        if cfg.get('default_scope') == 'mmseg':
            # The first metric, that 'auto' takes, is the share of pixels,
            # most of which are background.
            checkpoint.save_best = 'mIoU'
        if (checkpoint.get('max_keep_ckpts') or -1) < 0:
            checkpoint.max_keep_ckpts = 2
    if hooks.get('logger'):
        hooks.logger.interval = min(
            hooks.logger.get('interval', LOG_INTERVAL), steps
        )


def _scale_learning_rate(cfg: Config, total_batch: int) -> list[str]:
    """Let mmengine scale the learning rate to the batch, linearly."""
    scale = cfg.get('auto_scale_lr') or {}
    base = scale.get('base_batch_size')
    if not base or base == total_batch:
        return []
    cfg.auto_scale_lr.enable = True
    rate = cfg.optim_wrapper.optimizer.get('lr')
    scaled = '' if rate is None else f': {rate:g} -> '
    scaled += '' if rate is None else f'{rate * total_batch / base:.3g}'
    return [
        f'learning rate x {total_batch}/{base}, from the batch that the '
        f'config is for{scaled}'
    ]
