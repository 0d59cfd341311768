# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Results as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from .compare import Result

COLOR = '#1f6f8b'
# Matplotlib's versions differ in the type of the names.
STYLE: dict[Any, Any] = {
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'grid.color': '#d5dbe1',
    'grid.linewidth': 0.6,
    'axes.axisbelow': True,
    'legend.frameon': False,
    'svg.hashsalt': 'ivit',
}


def save_plot(results: Sequence[Result], path: Path) -> None:
    """Draw bars for backbones, and curves over tokens for a sweep."""
    is_sweep = results[0].tokens is not None
    with mpl.rc_context(STYLE):
        figure = _curves(results) if is_sweep else _bars(results)
        # Without a date the same results give the same picture.
        figure.savefig(path, format='svg', metadata={'Date': None})


def _bars(results: Sequence[Result]) -> Figure:
    """Median times with p10 and p90, and memory, of every result."""
    height = 1 + 0.35 * sum(len(r.rows) + 1 for r in results)
    figure = Figure(figsize=(9, height), layout='constrained')
    panels = figure.subplots(len(results), 2, squeeze=False)
    for (left, right), result in zip(panels, results, strict=True):
        timed = [row for row in result.rows if row.seconds]
        medians = [row.median for row in timed]
        errors = [
            [row.median - row.p10 for row in timed],
            [row.p90 - row.median for row in timed],
        ]
        names = [row.name for row in timed]
        if timed:
            left.barh(names, medians, xerr=errors, color=COLOR)
        known = {
            row.name: row.peak / 2**30
            for row in result.rows
            if row.peak is not None
        }
        right.barh(list(known), list(known.values()), color=COLOR)
        left.set(xlabel='seconds', title=result.title)
        right.set(xlabel='peak memory, GiB', title=result.title)
        for axes in (left, right):
            axes.invert_yaxis()
    return figure


def _curves(results: Sequence[Result]) -> Figure:
    """Time and memory over tokens, both axes logarithmic."""
    figure = Figure(figsize=(9, 4), layout='constrained')
    left, right = figure.subplots(1, 2)
    for i, row in enumerate(results[0].rows):
        times, peaks = [], []
        for result in results:
            point = result.rows[i]
            if point.seconds:
                times.append((result.tokens, point.median))
            if point.peak:
                peaks.append((result.tokens, point.peak / 2**20))
        for axes, points in ((left, times), (right, peaks)):
            if points:
                axes.plot(
                    *zip(*points, strict=True),
                    marker='o',
                    markersize=3,
                    label=row.name,
                )
    for axes, label in ((left, 'seconds'), (right, 'peak memory, MiB')):
        axes.set(xscale='log', yscale='log', xlabel='tokens', ylabel=label)
        numbers = [result.tokens for result in results]
        axes.set_xticks(numbers, map(str, numbers), rotation=45)
        axes.minorticks_off()
    if left.lines or right.lines:
        (left if left.lines else right).legend()
    return figure
