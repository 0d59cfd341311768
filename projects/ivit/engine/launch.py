# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What ``tools/train.py`` and ``tools/test.py`` have in common."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.registry import DATASETS, MODELS, RUNNERS
from mmengine.runner import Runner

from .checkpoint_check import CheckpointCheck
from .distributed import prepare_cpu_launch
from .errors import CUSTOM_IMPORTS, UsageError


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every OpenMMLab tool has."""
    parser.add_argument(
        '--work-dir',
        help='folder for logs and checkpoints; work_dirs/CONFIG by default',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change the config: a.b=1 c="[1,2]" d="(x,y)" (no blanks inside)',
    )
    parser.add_argument(
        '--launcher',
        choices=('none', 'pytorch', 'slurm', 'mpi'),
        default='none',
        help='what started the processes',
    )
    parser.add_argument(
        '--local_rank',
        '--local-rank',
        type=int,
        default=0,
        help='passed by launchers older than torchrun',
    )


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and apply the options of ``add_common_arguments``.

    Raises:
        UsageError: If there is no such file, it cannot be read, or it uses
            ivit without importing it.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if not Path(args.config).is_file():
        raise UsageError(f'config not found: {Path(args.config).absolute()}')
    try:
        cfg = Config.fromfile(args.config)
    except (FileNotFoundError, ImportError) as error:
        raise UsageError(f'{args.config} cannot be read: {error}') from error
    cfg.launcher = args.launcher
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', Path(args.config).stem)
    _check_custom_imports(cfg, args.config)
    return cfg


def build_runner(cfg: Config, whole_checkpoint: bool) -> Runner:
    """Build the runner and guard it against foreign checkpoints.

    Args:
        cfg: The complete config.
        whole_checkpoint: Whether all weights of a checkpoint have to fit, or
            the backbone's alone.

    Raises:
        UsageError: If the launcher did not start this process.
    """
    prepare_cpu_launch(cfg)
    build = RUNNERS.build if 'runner_type' in cfg else Runner.from_cfg
    runner = build(cfg)
    runner.register_hook(CheckpointCheck(whole_checkpoint))
    return runner


def _check_custom_imports(cfg: Config, path: str) -> None:
    """Refuse a config that works here alone.

    The tools import ivit; mim, mmdet's own tools and the Inferencers find
    its classes only by the config's ``custom_imports``.
    """
    imports = (cfg.get('custom_imports') or {}).get('imports') or []
    if 'ivit' in ([imports] if isinstance(imports, str) else imports):
        return
    for kind in _types(cfg.to_dict()):
        for registry in (MODELS, DATASETS):
            found = registry.module_dict.get(kind)
            if found and found.__module__.partition('.')[0] == 'ivit':
                raise UsageError(
                    f'{path} uses {kind!r}, which is not in the registry '
                    f'until ivit is imported. Add to it: {CUSTOM_IMPORTS}'
                )


def _types(node: object) -> Iterator[str]:
    """The ``type`` of every dict in a nested config."""
    if isinstance(node, dict):
        if isinstance(node.get('type'), str):
            yield node['type']
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from _types(child)
