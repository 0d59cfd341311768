# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Find the config and the checkpoint of a run."""

from pathlib import Path
from typing import Protocol

from ..engine import UsageError, find_config, find_last_checkpoint
from ..engine.last_checkpoint import NOTE

# Endings of files that hold weights.
CHECKPOINTS = ('.pth', '.safetensors')
BEST = 'best_*.pth'  # what CheckpointHook names them
# How a checkpoint is named in the command and in Python.
OPTION = '--checkpoint (in Python checkpoint=)'


class HasWorkDir(Protocol):
    """What a run is known by, such as :class:`ivit.inference.Run`."""

    @property
    def work_dir(self) -> Path:
        """The folder with its logs and checkpoints."""


def locate(
    run: HasWorkDir | str | Path,
    checkpoint: str | Path | None,
    option: str = OPTION,
) -> tuple[Path, str]:
    """The config and the checkpoint of a run; see :func:`ivit.load`.

    Args:
        run: See there.
        checkpoint: See there.
        option: How a checkpoint is named, for errors.

    Raises:
        UsageError: If one of them cannot be found, or there are several.
    """
    given = getattr(run, 'work_dir', run)
    if not isinstance(given, (str, Path)):
        raise UsageError(
            f'{run!r} is no run; give what ivit.train returns, the folder of '
            'a training, or a config and a checkpoint'
        )
    folder = Path(given).expanduser()
    if folder.is_dir():
        config = getattr(run, 'config', None) or _find_only_config(
            folder, option
        )
        return Path(config), str(checkpoint or find_checkpoint(folder, option))
    if folder.suffix in CHECKPOINTS:
        raise UsageError(
            f'{folder} is a checkpoint; give the folder of its training or '
            f'its config first, and the checkpoint with {option}'
        )
    try:
        config = find_config(folder)
    except UsageError as error:
        raise UsageError(f'there is no folder {folder}, and {error}') from None
    if checkpoint is None:
        raise UsageError(
            f'{config} is a config, whose weights are not known; give a '
            f'checkpoint with {option}, or the folder of a training instead'
        )
    return config, str(checkpoint)


def find_checkpoint(work_dir: Path, option: str = OPTION) -> Path:
    """The checkpoint of a work dir to predict with.

    The best one, if the training kept it, because it is what the training
    was validated for; the latest one otherwise.

    Args:
        work_dir: The folder of a training.
        option: How a checkpoint is named, for errors.

    Raises:
        UsageError: If there is none, or there are several best ones.
    """
    best = sorted(work_dir.glob(BEST))
    if len(best) > 1:
        raise UsageError(
            f'{work_dir} has {len(best)} best checkpoints: '
            f'{", ".join(path.name for path in best)}. Name one with {option}'
        )
    if best:
        return best[0]
    latest = find_last_checkpoint(work_dir, option)
    if latest is None:
        raise UsageError(
            f'{work_dir} has neither {BEST} nor {NOTE}, so no training has '
            f'saved its weights there. Name a checkpoint with {option}'
        )
    return latest


def _find_only_config(work_dir: Path, option: str) -> Path:
    """The config that a training left in its work dir."""
    configs = sorted(work_dir.glob('*.py'))
    if len(configs) == 1:
        return configs[0]
    found = ', '.join(path.name for path in configs) or 'none'
    raise UsageError(
        f'{work_dir} has to have one config, *.py, and has {found}. Give the '
        f'config itself, and the checkpoint with {option}'
    )
