# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Files that are made on first use, once for all processes."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import current_process
from pathlib import Path

from mmengine.logging import print_log

_LEAST_IN_PARALLEL = 100  # for fewer, starting processes takes longer


def make_once(
    path: Path, make: Callable[[Path], None], description: str
) -> None:
    """Make a file or a folder, unless it is there.

    Several processes may call this at once. One makes it while the others
    wait for a lock. Where the file system has no locks, each makes it, and
    the first to finish wins. It is made under a hidden name and renamed when
    it is complete: an interrupted process leaves nothing incomplete.

    Args:
        path: What is made. An existing one is never changed.
        make: Makes it under the name that it is called with.
        description: What it is, for the log.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _hold_lock(path):
        if not path.exists():
            _make(path, make, description)


@contextmanager
def _hold_lock(path: Path) -> Iterator[None]:
    """Hold ``.{name}.lock`` beside ``path``, where the system has locks."""
    try:
        import fcntl
    except ImportError:  # not POSIX
        yield
        return
    with open(path.with_name(f'.{path.name}.lock'), 'w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print_log(
                f'waiting for another process that makes {path}',
                logger='current',
            )
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            pass
        yield


def _make(path: Path, make: Callable[[Path], None], description: str) -> None:
    # Not of tempfile, whose files no other user may read.
    build = path.with_name(f'.{path.name}.{uuid.uuid4().hex}')
    print_log(f'making {description} in {path}', logger='current')
    try:
        make(build)
        try:
            os.rename(build, path)
        except OSError:
            if not path.exists():
                raise
            # Another process was first; the caller checks what it made.
    finally:
        if build.is_dir():
            shutil.rmtree(build, ignore_errors=True)
        else:
            build.unlink(missing_ok=True)


def count_workers(items: int) -> int:
    """Processes that draw beside this one; 0, and this one draws."""
    # A data loader's own worker may not start processes.
    if items < _LEAST_IN_PARALLEL or current_process().daemon:
        return 0
    return os.cpu_count() or 0
