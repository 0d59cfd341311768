# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Paired, interleaved timing and what may be said from it."""

import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from rich.console import Console
from rich.progress import track

WARM_UP = 2


def interleave(
    passes: Mapping[str, Callable[[], object]],
    rounds: int,
    device: str,
    description: str = '',
) -> dict[str, list[float]]:
    """Run everything once a round, so that drift hits all alike.

    The order moves on by one from round to round, so that nobody always runs
    after the same neighbour. Two rounds are run before any is counted.

    Args:
        passes: What is run, by name.
        rounds: Number of rounds that count.
        device: ``'cuda'`` waits for the GPU before and after every pass.
        description: Of the progress shown on stderr.

    Returns:
        Seconds of every round.
    """
    wait = torch.cuda.synchronize if device == 'cuda' else lambda: None
    names = list(passes)
    times: dict[str, list[float]] = {name: [] for name in names}
    for i in track(
        range(rounds + WARM_UP),
        description,
        console=Console(file=sys.stderr),
        transient=True,
    ):
        first = i % len(names)
        for name in names[first:] + names[:first]:
            wait()
            start = time.perf_counter()
            passes[name]()
            wait()
            if i >= WARM_UP:
                times[name].append(time.perf_counter() - start)
    return times


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which a share of the values lies, interpolated."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low, high = math.floor(place), math.ceil(place)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def median_interval(
    values: Sequence[float], confidence: float = 0.95
) -> tuple[float, float] | None:
    """A confidence interval of the median from order statistics.

    It assumes nothing of the distribution: the median of the population lies
    below the k-th smallest of n values with the probability that fewer than
    k of n fair coins show heads.

    Args:
        values: Independent values.
        confidence: At least so often the interval holds the median.

    Returns:
        The narrowest such interval whose ends are the k-th smallest and the
        k-th largest value; None where even all values are too few.
    """
    n, ordered = len(values), sorted(values)
    below, k = 0.0, 0
    while k < n // 2:
        below += math.comb(n, k) / 2**n
        if 1 - 2 * below < confidence:
            break
        k += 1
    return (ordered[k - 1], ordered[-k]) if k else None


def ratios(
    baseline: Sequence[float], times: Sequence[float]
) -> tuple[float, tuple[float, float] | None]:
    """How many times as fast as the baseline, round by round.

    Returns:
        The median ratio and its 95 % confidence interval.
    """
    pairs = [b / t for b, t in zip(baseline, times, strict=True)]
    return statistics.median(pairs), median_interval(pairs)
