# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Keep the few worst of many, without keeping the many."""

import heapq
from typing import Generic, TypeVar

T = TypeVar('T')


class Worst(Generic[T]):
    """The things with the lowest scores; of equal ones the first.

    Args:
        number: How many to keep.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._heap: list[tuple[float, int, T]] = []
        self._added = 0

    def add(self, score: float, thing: T) -> None:
        """Keep a thing if it is among the worst so far."""
        self._added += 1
        # The numbers differ, so things are never compared.
        entry = (-score, -self._added, thing)
        if len(self._heap) < self.number:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def ranked(self) -> list[tuple[float, T]]:
        """Scores and things, lowest score first."""
        return [
            (-score, thing) for score, _, thing in sorted(self._heap)[::-1]
        ]
