# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Find the latest checkpoint of a training."""

from pathlib import Path

from .errors import UsageError

# The file in which mmengine notes the latest checkpoint.
NOTE = 'last_checkpoint'


def find_last_checkpoint(work_dir: str | Path, option: str) -> Path | None:
    """The latest checkpoint of a work dir, which may be moved or copied.

    mmengine writes down the checkpoint's path, which stays that of the first
    place. So a file of the same name in the work dir comes first: that is the
    one which belongs to it.

    Args:
        work_dir: The folder of a training.
        option: What names a checkpoint instead, for the error.

    Returns:
        Its path; None if no checkpoint has been written.

    Raises:
        UsageError: If the checkpoint is in neither place.
    """
    note = Path(work_dir, NOTE)
    if not note.is_file():
        return None
    written = Path(note.read_text(encoding='utf-8').strip())
    for path in (Path(work_dir, written.name), written):
        if path.is_file():
            return path
    raise UsageError(
        f'{note} names {written}, which is neither there nor in {work_dir}. '
        f'Name a checkpoint with {option}'
    )
