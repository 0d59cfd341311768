# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Time, memory and size of several workloads in one paired run."""

import copy
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch

from .cost import measure
from .memory import peak_bytes
from .timing import interleave, quantile, ratios
from .workload import Setting, Workload


class Work(Protocol):
    """What can be built here and in a child process."""

    def build(self) -> Workload:
        """Make the module and its inputs."""


@dataclass
class Row:
    """What was measured of one module.

    Attributes:
        name: Its name.
        params: Number of parameters.
        macs: Multiply-adds of convolutions and products, of one image.
        seconds: Of every round.
        peak: Peak memory in bytes; None where it could not be told.
        speed: Median over the rounds of the baseline's time over this one's.
        interval: 95 % confidence interval of ``speed``.
        note: Why it was not run.
    """

    name: str
    params: int = 0
    macs: int = 0
    seconds: list[float] = field(default_factory=list)
    peak: int | None = None
    speed: float | None = None
    interval: tuple[float, float] | None = None
    note: str = ''

    @property
    def median(self) -> float:
        """Median of the rounds, in seconds."""
        return statistics.median(self.seconds)

    @property
    def p10(self) -> float:
        """The time that a tenth of the rounds stayed below."""
        return quantile(self.seconds, 0.1)

    @property
    def p90(self) -> float:
        """The time that a tenth of the rounds went above."""
        return quantile(self.seconds, 0.9)


@dataclass
class Result:
    """One paired run.

    Attributes:
        title: Size of what went in.
        setting: How it was run.
        rows: In the order asked for.
        tokens: Number of tokens, in a sweep of attentions.
    """

    title: str
    setting: Setting
    rows: list[Row]
    tokens: int | None = None


def compare(
    works: Mapping[str, Work],
    setting: Setting,
    title: str,
    rounds: int,
    baseline: str,
) -> Result:
    """Measure workloads against one of them.

    Args:
        works: What is run, by name.
        setting: How it is run.
        title: Of the result.
        rounds: Number of rounds that count; 0 measures memory alone.
        baseline: Against which speeds are; if it is not run there are none.
    """
    torch.set_num_threads(setting.threads)
    # Before anything is measured, as a name may be wrong.
    built = {name: work.build() for name, work in works.items()}
    rows = []
    for name, workload in built.items():
        params = sum(p.numel() for p in workload.module.parameters())
        row = Row(name, params, count_macs(workload))
        rows.append(row)
        try:
            row.peak = peak_bytes(works[name].build, setting.device)
        except MemoryError:
            row.note = 'out of memory'
    timed = {row.name: built[row.name] for row in rows if not row.note}
    if rounds and timed:
        seconds = interleave(timed, rounds, setting.device, title)
        for row in rows:
            row.seconds = seconds.get(row.name, [])
            if baseline in seconds and row.seconds:
                row.speed, row.interval = ratios(
                    seconds[baseline], row.seconds
                )
    return Result(title, setting, rows)


def count_macs(work: Workload) -> int:
    """Multiply-adds of a forward pass of one image, counted by shapes."""
    module = copy.deepcopy(work.module).to('meta')
    module.eval()
    inputs = (
        torch.empty_like(x[:1], device='meta').detach() for x in work.inputs
    )
    with measure() as meter:
        module(*inputs, *work.rest)
    return meter.total.macs
