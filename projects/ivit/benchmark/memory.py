# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Peak memory of one pass."""

import ctypes
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch

from .workload import Workload

STATUS, REFS = Path('/proc/self/status'), Path('/proc/self/clear_refs')
RESET_PEAK = '5'  # as Linux calls it


def peak_bytes(build: Callable[[], Workload], device: str) -> int | None:
    """Memory of the weights and of a pass, at its peak.

    It is a second pass, so that nothing is loaded or tuned in it. On a GPU it
    is what the allocator handed out, in this process. On a CPU it is the
    resident memory of a child process, for which Linux is needed.

    Args:
        build: Makes the workload; can be pickled.
        device: ``'cpu'`` or ``'cuda'``.

    Returns:
        Bytes; None where they cannot be told.

    Raises:
        MemoryError: If it was too much.
    """
    if device == 'cuda':
        return _on_gpu(build)
    if not REFS.exists():
        return None
    # Processes forked from one that has imported everything and run nothing.
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload([__package__])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_on_cpu, build).result()
        except BrokenProcessPool as error:
            raise MemoryError(
                'The process that measures memory was killed, most likely '
                'for want of memory; take a smaller batch or image.'
            ) from error


def _on_gpu(build: Callable[[], Workload]) -> int:
    before = torch.cuda.memory_allocated()
    try:
        work = build()
        for _ in range(2):
            torch.cuda.reset_peak_memory_stats()
            work()
            torch.cuda.synchronize()
    except torch.cuda.OutOfMemoryError as error:
        raise MemoryError(str(error)) from error
    return torch.cuda.max_memory_allocated() - before


def _on_cpu(build: Callable[[], Workload]) -> int:
    work = build()
    torch.set_num_threads(work.setting.threads)
    work()
    # Hand back what the allocator keeps, or the peak would fit into it.
    if trim := getattr(ctypes.CDLL(None), 'malloc_trim', None):
        trim(0)
    REFS.write_text(RESET_PEAK)
    before = _status('VmRSS')
    work()
    return work.num_bytes + _status('VmHWM') - before


def _status(field: str) -> int:
    """A size from this process's status, in bytes."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(f'{field}:'):
            return int(line.split()[1]) * 1024
    raise LookupError(field)
