# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Load a finished run: ``ivit.load``."""

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DATASETS, MODELS, DefaultScope
from mmengine.runner import CheckpointLoader

from .. import engine
from ..nested import innermost_datasets
from ..own_data.fit import TASKS
from ..palette import make_palette
from ..quiet import only_warnings
from .locate import HasWorkDir, locate
from .model import Model
from .results import Color


def load(
    run: HasWorkDir | str | Path,
    checkpoint: str | Path | None = None,
    device: str | torch.device | None = None,
) -> Model:
    """Load a detector, segmentor or classifier to predict with.

    Args:
        run: One of these:

            - What ``ivit.train`` returns, or anything with a ``work_dir``.
            - The folder of a training. It may have been moved.
            - A config, by its path or the name of one that comes with ivit;
              it needs ``checkpoint``.
        checkpoint: Path or address of the weights. By default, in the folder
            of a training, ``best_*.pth`` if there is one, because it is what
            the training was validated for, and otherwise the latest, which
            ``last_checkpoint`` names. Of a training with averaged weights
            (``EMAHook``) these are the averaged ones.
        device: Such as ``'cuda:1'``; the GPU by default, if there is one, or
            else the CPU.

    Returns:
        The model. Its classes and colours are those that the checkpoint
        has; without any they are those of the config's test data.

    Raises:
        ValueError: If files are missing, if any weight does not fit, or if
            the checkpoint has other classes than the config's test data.
    """
    where = _choose_device(device)
    config, file = locate(run, checkpoint)
    engine.check_checkpoint_path(file)
    return read_model(config, file, where)


def read_model(
    config: Path,
    file: str | None,
    device: torch.device | None = None,
    cfg_options: dict[str, Any] | None = None,
) -> Model:
    """Build the model of a config, and give it weights.

    Args:
        config: Path of the config.
        file: Path or address of the weights; None for random ones.
        device: Where to put the model; the CPU by default.
        cfg_options: Changes to the config, by dotted keys.

    Returns:
        See :func:`load`.

    Raises:
        ValueError: See :func:`load`.
    """
    cfg = engine.load_config(config, cfg_options)
    scope = cfg.get('default_scope')
    if scope not in TASKS or 'model' not in cfg:
        raise engine.UsageError(
            f'{config} has default_scope={scope!r} and '
            f'{"a" if "model" in cfg else "no"} model; predictions are of '
            f'models of {", ".join(TASKS)}'
        )
    engine.merge_data_preprocessor(cfg)
    content: dict[str, Any] = {}
    if file is not None:
        content = CheckpointLoader.load_checkpoint(
            file, map_location='cpu', logger='silent'
        )
    saved = (content.get('meta') or {}).get('dataset_meta') or {}
    with DefaultScope.overwrite_default_scope(scope):
        asked = read_metainfo(cfg)
        module = MODELS.build(cfg.model)
        if file is None:
            with only_warnings():
                module.init_weights()
        else:
            try:
                engine.check_classes(asked.get('classes'), content)
                engine.load_whole(module, content)
            except ValueError as error:
                raise engine.UsageError(
                    f'{file}, {config}: {error}'
                ) from error
    known = saved if saved.get('classes') else asked
    if not known.get('classes'):
        raise engine.UsageError(
            f'neither {file} nor the test data of {config} names classes; '
            'add metainfo=dict(classes=(...)) to test_dataloader.dataset'
        )
    classes = tuple(map(str, known['classes']))
    module = revert_sync_batchnorm(module).to(device or 'cpu').eval()
    palette = _read_palette(known.get('palette'), len(classes))
    return Model(module, cfg, classes, palette, file)


def _choose_device(device: str | torch.device | None) -> torch.device:
    """The device that is asked for, or the GPU if there is one.

    Raises:
        UsageError: If it is not a device, or not here.
    """
    default = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        where = torch.device(device or default)
        if where.type == 'meta':
            raise RuntimeError('it has no memory')
        torch.zeros(1, device=where)
    # What torch raises differs from device to device.
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        reason = (str(error).splitlines() or ['torch cannot use it'])[0]
        raise engine.UsageError(
            f'device {device!r}: {reason}; torch can use '
            f'{torch.cuda.device_count()} GPUs here. Take {default}'
        ) from None
    return where


def read_metainfo(cfg: Config) -> dict[str, Any]:
    """What the config's test data is told about its classes.

    The data itself need not be there. A data set that does not even tell its
    classes without it tells nothing.
    """
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    first = next(innermost_datasets(dataset))
    try:
        options = dict(first, pipeline=[], lazy_init=True)
        return dict(DATASETS.build(options).metainfo)
    except Exception:
        return dict(first.get('metainfo') or {})


def _read_palette(given: Any, number: int) -> tuple[Color, ...]:
    """A colour for each class: those given, if there are as many."""
    colors = given if isinstance(given, (list, tuple)) else ()
    if len(colors) < number:
        colors = make_palette(number)
    return tuple((int(r), int(g), int(b)) for r, g, b in colors[:number])
