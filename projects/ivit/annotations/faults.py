# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Faults of a data set: their kinds, and how often each was found where."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple


class FaultKind(NamedTuple):
    """A kind of fault.

    Attributes:
        level: ``'error'`` if training would fail or learn something wrong,
            ``'warning'`` if it goes on and loses little.
        text: What is wrong, as in ``'image file is missing'``.
        remedy: What to do about it.
    """

    level: Literal['error', 'warning']
    text: str
    remedy: str


@dataclass
class Fault:
    """How often a kind of fault was found.

    Attributes:
        kind: The kind.
        first: The first place: a file, and what in it.
        count: Number of places.
        files: The files that were counted as wholes.
    """

    kind: FaultKind
    first: str
    count: int = 1
    files: set[Path] = field(default_factory=set)

    def __str__(self) -> str:
        times = '' if self.count == 1 else f' ({self.count} times, first:'
        end = '' if self.count == 1 else ')'
        joint = ': ' if self.count == 1 else f'{times} '
        return f'{self.kind.text}{joint}{self.first}{end}. {self.kind.remedy}'


class Faults:
    """Faults by kind, errors first, each in the order it was found."""

    def __init__(self) -> None:
        self._by_kind: dict[FaultKind, Fault] = {}

    def add(
        self, kind: FaultKind, place: object, file: Path | None = None
    ) -> None:
        """Count a fault.

        Args:
            kind: Its kind.
            place: The file, and what in it; kept for the first of a kind.
            file: The file, if it has the fault as a whole: it is counted
                once then, however often it is looked at.
        """
        fault = self._by_kind.get(kind)
        if fault is None:
            fault = self._by_kind[kind] = Fault(kind, str(place))
        elif file is None or file not in fault.files:
            fault.count += 1
        if file is not None:
            fault.files.add(file)

    def __iter__(self) -> Iterator[Fault]:
        yield from self.errors
        yield from self.warnings

    def __len__(self) -> int:
        return len(self._by_kind)

    @property
    def errors(self) -> list[Fault]:
        """Those that training must not start with."""
        return [f for f in self._by_kind.values() if f.kind.level == 'error']

    @property
    def warnings(self) -> list[Fault]:
        """Those that training can live with."""
        return [f for f in self._by_kind.values() if f.kind.level != 'error']
