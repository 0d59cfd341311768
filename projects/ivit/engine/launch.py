# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What ``ivit train`` and ``ivit test`` have in common."""

import argparse
import difflib
import os
import traceback
from inspect import signature
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.registry import DATASETS, MODELS, RUNNERS
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings

from ..frameworks import FRAMEWORKS, require
from ..nested import iterate_dicts
from .checkpoint_check import CheckpointCheck
from .config_files import find_config
from .distributed import prepare_cpu_launch
from .errors import CUSTOM_IMPORTS, UsageError

NO_IMPORTS = dict(imports=None)
# What mmengine and ivit read of a config, beside the runner's arguments.
OWN_KEYS = (
    'auto_scale_lr',
    'custom_imports',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'pretrained',
    'resume',
    'runner_type',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
)


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


def load_config(
    config: str | Path,
    cfg_options: dict[str, Any] | None = None,
    work_dir: str | Path | None = None,
    launcher: str = 'none',
    local_rank: int = 0,
) -> Config:
    """Read a config and apply the options that every tool has.

    The config's variable ``pretrained``, a path or an address of weights for
    the backbone, becomes ``model.backbone.init_cfg``.

    Args:
        config: Its path, or the name of one that comes with ivit.
        cfg_options: Values by dotted keys, which replace the config's.
        work_dir: The folder for logs and checkpoints; ``work_dirs/CONFIG`` by
            default.
        launcher: What started the processes.
        local_rank: The number of this process on its machine, where the
            environment does not tell.

    Raises:
        UsageError: If there is no such file, it cannot be read, it uses
            ivit without importing it, or there is no place for
            ``pretrained``.
        MissingFrameworkError: If the framework that ``default_scope`` names
            is not installed.
    """
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    path = str(find_config(config))
    cfg = _read_config(path)
    cfg.launcher = launcher
    if cfg_options is not None:
        _check_keys(cfg, cfg_options)
        cfg.merge_from_dict(cfg_options)
    if work_dir is not None:
        cfg.work_dir = str(work_dir)
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', Path(path).stem)
    _drop_options_of_workers(cfg)
    _move_pretrained(cfg)
    scope = cfg.get('default_scope')
    if scope in FRAMEWORKS:
        require(scope, path)
    _check_custom_imports(cfg, path)
    return cfg


def _check_keys(cfg: Config, cfg_options: dict[str, Any]) -> None:
    """Refuse an option whose first key nothing reads."""
    known = {*cfg.keys(), *signature(Runner).parameters, *OWN_KEYS}
    for key in cfg_options:
        first, dot, rest = key.partition('.')
        if first not in known:
            nearest = difflib.get_close_matches(first, known, 1, cutoff=0)[0]
            raise UsageError(
                f'--cfg-options {key}: nothing reads the key {first!r}. The '
                f'nearest one is {nearest}{dot}{rest}'
            )


def _drop_options_of_workers(cfg: Config) -> None:
    """Let ``num_workers=0`` be enough to load data in the main process.

    PyTorch refuses options of workers where there are none.
    """
    for phase in ('train', 'val', 'test'):
        loader = cfg.get(f'{phase}_dataloader') or {}
        if loader.get('num_workers') == 0:
            loader.pop('persistent_workers', None)
            loader.pop('prefetch_factor', None)


def _move_pretrained(cfg: Config) -> None:
    """Move ``pretrained`` to where mmengine looks for weights.

    The config cannot do it itself: ``--cfg-options`` are applied later.
    """
    # Removed, or loading the config that a run saves would do it twice.
    file = cfg.pop('pretrained', None)
    if file is None:
        return
    if not isinstance(file, str) or not file:
        raise UsageError(f'pretrained={file!r} has to be a path or an address')
    backbone = (cfg.get('model') or {}).get('backbone')
    if backbone is None:
        raise UsageError(
            f'pretrained={file!r} is for model.backbone, which the config '
            'does not have. Whole models are given with load_from'
        )
    given = backbone.get('init_cfg') or []
    given = [given] if isinstance(given, dict) else list(given)
    others = [init for init in given if init.get('type') == 'Pretrained']
    if any(init.get('checkpoint') != file for init in others):
        raise UsageError(
            f'pretrained={file!r}, but model.backbone.init_cfg names '
            f'{others[0].get("checkpoint")!r}. Leave one of them out, or set '
            'it to None'
        )
    if not others:  # otherwise init_cfg has the same file already
        init = dict(type='Pretrained', checkpoint=file)
        backbone.init_cfg = [*given, init] if given else init


def _read_config(path: str) -> Config:
    """Read a config file and import what it names in ``custom_imports``."""
    try:
        cfg = Config.fromfile(path, import_custom_modules=False)
    except Exception as error:  # a config is Python and may raise anything
        text = ' '.join(str(getattr(error, 'msg', error)).split())
        place = _find_unreadable_line(error, path)
        # Of _base_ = 'mmdet::...', mmengine says nothing of the OneDL line.
        for framework in FRAMEWORKS:
            if text.startswith(f'{framework} is not installed'):
                require(framework, place)
        raise UsageError(
            f'{place} cannot be read: {type(error).__name__}: {text}'
        ) from error
    try:
        import_modules_from_strings(
            **(cfg.get('custom_imports') or NO_IMPORTS)
        )
    except ImportError as error:
        raise UsageError(
            f'custom_imports of {path}: {error} '
            f'({error.__context__}). Install it or name its folder in '
            'PYTHONPATH'
        ) from error
    return cfg


def _find_unreadable_line(error: Exception, path: str) -> str:
    """The file, a config or a base of it, and the line that raised."""
    line = getattr(error, 'lineno', None)  # of a syntax error
    for frame, number in traceback.walk_tb(error.__traceback__):
        # mmengine keeps the path of the config in `filename`, or that of a
        # temporary copy, which is deleted by now.
        read = frame.f_locals.get('filename')
        in_mmengine = frame.f_globals.get('__name__') == Config.__module__
        if in_mmengine and isinstance(read, str) and os.path.isfile(read):
            path = read
        if frame.f_code.co_filename == path:
            line = number
    path = os.path.normpath(path)
    return f'{path}:{line}' if line else path


def build_runner(cfg: Config, whole_checkpoint: bool) -> Runner:
    """Build the runner, with a check of the checkpoints it loads.

    Args:
        cfg: The complete config.
        whole_checkpoint: Whether all weights of a checkpoint have to fit, or
            only those of the backbone. See :class:`CheckpointCheck`.

    Raises:
        UsageError: If the launcher did not start this process.
    """
    prepare_cpu_launch(cfg)
    # mmengine gives the experiment's own name then. A visualizer of one name
    # is one object in a process, and writes to the folder of its first run.
    if cfg.get('visualizer'):
        cfg.visualizer.pop('name', None)
    build = RUNNERS.build if 'runner_type' in cfg else Runner.from_cfg
    runner = build(cfg)
    runner.register_hook(CheckpointCheck(whole_checkpoint))
    return runner


def merge_data_preprocessor(cfg: Config) -> None:
    """Give the model the preprocessor at the top level, as a runner does.

    Args:
        cfg: A config with a model; changed in place.
    """
    if cfg.get('data_preprocessor') is not None:
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)


def _check_custom_imports(cfg: Config, path: str) -> None:
    """Refuse a config that uses ivit but does not import it.

    It would work here, since the tools import ivit, but not with mim, mmdet's
    own tools and the Inferencers. These find ivit's classes only by the
    config's ``custom_imports``.
    """
    imports = (cfg.get('custom_imports') or {}).get('imports') or []
    if 'ivit' in ([imports] if isinstance(imports, str) else imports):
        return
    for node in iterate_dicts(cfg.to_dict()):
        kind = node.get('type')
        for registry in (MODELS, DATASETS) if isinstance(kind, str) else ():
            found = registry.module_dict.get(kind)
            if found and found.__module__.partition('.')[0] == 'ivit':
                raise UsageError(
                    f'{path} uses {kind!r}, which is not in the registry '
                    f'until ivit is imported. Add to it: {CUSTOM_IMPORTS}'
                )
