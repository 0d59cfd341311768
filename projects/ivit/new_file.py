# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Write files that overwrite nothing and are never left incomplete."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def open_new(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write, and remove it if that fails.

    Args:
        path: The file, in a folder that exists.

    Raises:
        ValueError: If it exists.
    """
    try:
        file = path.open('xb')
    except FileExistsError:
        raise ValueError(
            f'{path} exists and is not overwritten: give another name or '
            'remove it.'
        ) from None
    try:
        with file:
            yield file
    except BaseException:  # the next try must not find an incomplete file
        path.unlink()
        raise
