# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Look at many files, in threads, until all are seen or the time is over."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from rich.console import Console
from rich.progress import Progress

Item = TypeVar('Item')
Result = TypeVar('Result')

WORKERS = 8
SEED = 0


class Seen(NamedTuple):
    """How much was looked at.

    Attributes:
        number: Of files that were looked at.
        total: Of files that there are.
    """

    number: int
    total: int

    @property
    def is_all(self) -> bool:
        """Whether nothing was left out."""
        return self.number == self.total

    def __str__(self) -> str:
        return f'{self.number:,} of {self.total:,}'


def sweep(
    items: Sequence[Item],
    look: Callable[[Item], Result],
    seconds: float | None = None,
    title: str | None = None,
) -> dict[int, Result]:
    """Look at items in threads.

    Args:
        items: What to look at.
        look: Looks at one, and waits for a disk most of the time.
        seconds: After as many no further item is looked at. The order is
            random by a fixed seed then, so that those seen are a fair sample.
        title: Of a progress bar on stderr; None for no bar.

    Returns:
        What ``look`` returned, by the positions of the items, in order.
    """
    order = list(range(len(items)))
    deadline = None
    if seconds is not None:
        random.Random(SEED).shuffle(order)
        deadline = time.monotonic() + seconds
    queue = iter(order)  # one step of it is one step of the interpreter
    results: dict[int, Result] = {}
    console = Console(stderr=True)
    hidden = title is None or not console.is_terminal
    with Progress(console=console, disable=hidden) as progress:
        task = progress.add_task(title or '', total=len(items))

        def work() -> None:
            for position in _until(deadline, queue):
                results[position] = look(items[position])
                progress.advance(task)

        with ThreadPoolExecutor(WORKERS) as pool:
            for job in [pool.submit(work) for _ in range(WORKERS)]:
                job.result()
    return dict(sorted(results.items()))


def _until(deadline: float | None, queue: Iterator[int]) -> Iterator[int]:
    """Positions from a queue that threads share, until a point in time."""
    while deadline is None or time.monotonic() < deadline:
        position = next(queue, None)
        if position is None:
            return
        yield position
