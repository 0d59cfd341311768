# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Train from a config, or on data of one's own: ``ivit.train``."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from mmengine.config import Config
from mmengine.logging import print_log

from . import engine
from .inference.run import Run
from .own_data import DataPaths, prepare
from .own_data.start import choose_start
from .own_data.work_dir import choose_work_dir
from .preflight import check_config

PathLike: TypeAlias = str | Path


def train(
    config: PathLike,
    data: PathLike | None = None,
    epochs: int | None = None,
    *,
    train_ann: PathLike | None = None,
    train_images: PathLike | None = None,
    val_ann: PathLike | None = None,
    val_images: PathLike | None = None,
    pretrained: str | None = None,
    load_from: str | None = None,
    from_scratch: bool = False,
    work_dir: PathLike | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    amp: bool = False,
    compile: bool = False,
    auto_scale_lr: bool = False,
    resume: bool | str = False,
    launcher: str = 'none',
    local_rank: int = 0,
) -> Run:
    """Train a detector, segmentor or classifier, as ``ivit train`` does.

    Args:
        config: Path of a config, or the name of one that comes with ivit.
        data: A folder of annotated images to train on instead of the
            config's data. docs/your-data.md says which layouts are
            recognised. Nothing is written into it.
        epochs: How often to go through the data. The schedule is scaled.
        train_ann: A COCO annotation file, instead of ``data``.
        train_images: The folder that its file names are relative to.
        val_ann: A COCO annotation file for validation.
        val_images: The folder that its file names are relative to.
        pretrained: Path or address of weights for the backbone, or the name
            of weights that come with ivit.
        load_from: Path or address of weights of a whole model. Of heads for
            other classes the weights that fit are kept.
        from_scratch: Begin with random weights. Otherwise a backbone that
            weights come with ivit for has them, if there is ``data`` and
            nothing else is named.
        work_dir: Folder for logs and checkpoints; ``work_dirs/CONFIG`` by
            default, with the name of the data behind it, and a number if
            there is a training already.
        cfg_options: Changes to the config, by dotted keys. They come before
            the config is fitted to ``data``.
        amp: Mixed precision: float16 on a GPU, bfloat16 on the CPU.
        compile: Compile the backbone; the first step takes minutes.
        auto_scale_lr: Scale the learning rate to the total batch size. With
            ``data`` it is scaled anyway.
        resume: Go on from the latest checkpoint in the work dir, if there is
            one, or from the one that is named.
        launcher: What started the processes: ``'none'``, ``'pytorch'``,
            ``'slurm'`` or ``'mpi'``.
        local_rank: The number of this process on its machine, where the
            environment does not tell.

    Returns:
        Where the run lies, for :func:`ivit.load`.

    Raises:
        ValueError: If config, data and options do not go together. Nothing
            has been built then.
    """
    paths = DataPaths(data, train_ann, train_images, val_ann, val_images)
    options = dict(cfg_options or {})
    if pretrained is not None:
        options['pretrained'] = pretrained
    cfg = engine.load_config(config, options, work_dir, launcher, local_rank)
    if from_scratch:
        _leave_weights_out(cfg, pretrained, load_from)
    own_data = any(paths)
    if own_data:
        cfg.work_dir = choose_work_dir(
            work_dir or f'{cfg.work_dir}_{paths.name}', bool(work_dir), resume
        )
    if load_from is not None:
        cfg.load_from = load_from
    _apply_options(cfg, amp, compile, auto_scale_lr)
    _set_resume(cfg, resume, load_from)
    engine.check_checkpoint_path(cfg.get('load_from'))
    notes: list[str] = []
    if own_data:
        notes = [f'data: {note}' for note in prepare(cfg, paths, epochs)]
        if not cfg.get('resume'):
            notes.append(choose_start(cfg, from_scratch))
    elif epochs is not None:
        raise engine.UsageError(
            f'--epochs {epochs} goes with --data. Without it, set '
            'train_cfg.max_epochs and the schedule in the config'
        )
    # Data of one's own is checked already.
    check_config(cfg, ('train', 'val'), annotations=not own_data)
    runner = engine.build_runner(cfg, bool(cfg.get('resume')))
    if own_data:
        runner.register_hook(engine.ReportHook())
    for note in notes:
        runner.logger.info(note)
    runner.train()
    if own_data:
        runner.logger.info(f'predict: ivit predict {cfg.work_dir} IMAGE')
    return Run(Path(cfg.work_dir), Path(cfg.work_dir, Path(cfg.filename).name))


def _leave_weights_out(
    cfg: Config, pretrained: str | None, load_from: str | None
) -> None:
    """Begin with random weights, in place.

    Raises:
        UsageError: If weights are named all the same.
    """
    named = dict(pretrained=pretrained, load_from=load_from)
    for option, file in named.items():
        if file is not None:
            raise engine.UsageError(
                f'--from-scratch means random weights, and '
                f'--{option.replace("_", "-")} names {file}. Leave one of '
                'them out'
            )
    engine.remove_initial_weights(cfg)


def _apply_options(
    cfg: Config,
    amp: bool,
    compile: bool,
    auto_scale_lr: bool,
) -> None:
    """Apply the options that only training has, in place."""
    engine.set_amp(cfg, amp)
    engine.set_compile(cfg, compile)
    if auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise engine.UsageError(
                '--auto-scale-lr needs the total batch size that the '
                'learning rate was chosen for; add to the config: '
                'auto_scale_lr = dict(base_batch_size=16)'
            )
        cfg.auto_scale_lr.enable = True


def _set_resume(
    cfg: Config, resume: bool | str, load_from: str | None
) -> None:
    """Go on from a checkpoint, if that is asked for, in place.

    Where there is none yet, the training begins as without ``resume``: jobs
    that are stopped and started again always give the option.

    Raises:
        UsageError: If a checkpoint is named to go on from and another one to
            begin with.
    """
    if isinstance(resume, str):
        if load_from is not None:
            raise engine.UsageError(
                f'--resume {resume} goes on with a training, and --load-from '
                f'{load_from} begins one. Leave one of them out'
            )
        cfg.resume = True
        cfg.load_from = resume
    elif resume:
        latest = engine.find_last_checkpoint(
            cfg.work_dir, '--resume CHECKPOINT'
        )
        cfg.resume = latest is not None
        if latest is not None:
            cfg.load_from = str(latest)
        else:
            print_log(
                f'--resume: no checkpoint in {cfg.work_dir} yet, so the '
                'training starts at its beginning',
                logger='current',
                level=logging.WARNING,
            )
