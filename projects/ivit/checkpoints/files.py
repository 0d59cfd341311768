# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Find out what is wrong with a file that should be a checkpoint."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

import numpy as np
import torch
from mmengine.runner import checkpoint

from . import tensor_files
from .shipped import SUFFIX as SAFETENSORS
from .shipped import find_shipped, tell_names

PICKLE = b'\x80'  # how a file of torch before 1.6 begins


def check_checkpoint_file(path: str | Path) -> None:
    """Check that a file is a checkpoint, without reading its tensors.

    Args:
        path: A file on the local disk.

    Raises:
        ValueError: If the file is neither a checkpoint of torch nor a file
            of safetensors, as its name says, or its end is missing. In the
            format of torch before 1.6 a missing end goes unnoticed.
    """
    fault = find_fault(Path(path).expanduser())
    if fault:
        raise ValueError(
            f'{path} is not a checkpoint: {fault}. Download or copy it again.'
        )


def find_fault(path: Path) -> str | None:
    """What the first and last bytes show to be wrong, or None."""
    with path.open('rb') as file:
        start = file.read(512)
    if not start:
        return 'the file is empty'
    if path.suffix == SAFETENSORS:
        return tensor_files.find_fault_of_tensors(path)
    if start.startswith(b'PK'):
        try:
            with ZipFile(path) as archive:
                names = archive.namelist()
        except BadZipFile:
            return 'its end is missing'
        # torch writes NAME/data.pkl and NAME/data/0, NAME/data/1, ...
        if not any(re.fullmatch(r'[^/]+/data\.pkl', name) for name in names):
            return 'it is a zip archive of something else'
        if not any(re.match(r'[^/]+/data/.', name) for name in names):
            return 'it has no tensors'
    elif start.lstrip().startswith(b'<'):
        return 'it is a web page'
    elif not start.startswith(PICKLE):
        return 'torch.save has not written it'
    return None


def find_checkpoint_file(filename: str | Path) -> Path:
    """The file that a path or a name means.

    Args:
        filename: A file on the local disk, or the name of weights that come
            with the package.

    Raises:
        FileNotFoundError: If there is neither.
        ValueError: If the file of such weights was changed.
    """
    path = Path(filename).expanduser()
    if path.is_file():
        return path
    shipped = find_shipped(str(filename))
    if shipped is None:
        raise FileNotFoundError(
            f'checkpoint not found: {path.absolute()}. {tell_names()}'
        )
    return shipped


@contextmanager
def _numbers_are_safe() -> Iterator[None]:
    """Let checkpoints have numpy's numbers of any kind, such as an mIoU's.

    mmengine allows two kinds. For another it warns of code in the file, and
    loads the file again without a check.
    """
    if not hasattr(torch.serialization, 'safe_globals'):  # torch < 2.5
        yield
        return
    kinds = {type(np.dtype(code)) for code in np.typecodes['All']}
    with torch.serialization.safe_globals(list(kinds)):
        yield


def load_from_local(filename: str, map_location: Any = None) -> Any:
    """Load a local file, and say what is wrong if it cannot be read.

    It takes the place of mmengine's loader and calls it.

    Args:
        filename: See :func:`find_checkpoint_file`.
        map_location: See ``torch.load``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a checkpoint.
    """
    filename = str(find_checkpoint_file(filename))
    if filename.endswith(SAFETENSORS):
        check_checkpoint_file(filename)
        is_device = isinstance(map_location, (str, torch.device))
        device = str(map_location) if is_device else 'cpu'
        return tensor_files.load(filename, device)
    try:
        with _numbers_are_safe():
            return checkpoint.load_from_local(filename, map_location)
    except (EOFError, RuntimeError, UnpicklingError) as error:
        check_checkpoint_file(filename)
        if is_zipfile(Path(filename).expanduser()):
            raise  # the file is whole: torch's message says what to do
        raise ValueError(
            f'{filename} cannot be read as a checkpoint ({error}). If its '
            'end is missing, download or copy it again.'
        ) from error
