# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""A folder for a training on data of one's own."""

from pathlib import Path

from ..engine.errors import UsageError
from ..engine.last_checkpoint import NOTE


def choose_work_dir(
    folder: str | Path, is_given: bool, resume: bool | str
) -> str:
    """Choose a folder in which no other training is overwritten.

    All processes that train together choose the same: none of them saves a
    checkpoint before all have begun.

    Args:
        folder: The folder that was asked for, or the default.
        is_given: Whether it was asked for. The default gets a number, _2 and
            so on, if there is a training in it.
        resume: Whether to go on with the latest training, or with that of
            the checkpoint that is named.

    Raises:
        UsageError: If there is a training in a folder that was asked for.
    """
    if isinstance(resume, str) and not is_given:
        return str(Path(resume).parent)
    number, chosen, latest = 1, Path(folder), Path(folder)
    while Path(chosen, NOTE).exists():
        if is_given and not resume:
            raise UsageError(
                f'{folder} has a training already, which would be '
                'overwritten. Go on with it by --resume, or name another '
                '--work-dir'
            )
        latest = chosen
        if is_given:
            break
        number += 1
        chosen = Path(f'{folder}_{number}')
    return str(latest if resume else chosen)
