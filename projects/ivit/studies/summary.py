# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What a study found: numbers over seeds, a table, a picture."""

import json
import os
import platform
import shlex
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mmengine.device import get_device

from ..report.curves import INK, PARTS, STYLE

BETWEEN_SEEDS = 0.05  # of the distance between two groups


def mean_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1); of one value None."""
    std = statistics.stdev(values) if len(values) > 1 else None
    return statistics.fmean(values), std


def shown(
    values: Sequence[float], digits: int = 1, signed: bool = False
) -> str:
    """Mean and standard deviation for a table, as in ``41.3 ± 0.8``."""
    mean, std = mean_std(values)
    text = f'{mean:{"+" if signed else ""}.{digits}f}'
    return text if std is None else f'{text} ± {std:.{digits}f}'


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[object]]
) -> str:
    """A Markdown table."""
    lines = [header, ['---'] * len(header), *rows]
    return ''.join(f'| {" | ".join(map(str, line))} |\n' for line in lines)


def describe_machine() -> str:
    """Device, cores, versions and command, in one line."""
    device = _cpu()
    if get_device() == 'cuda':
        device = f'{torch.cuda.get_device_name()}, {device}'
    return (
        f'{device}, {os.cpu_count()} cores; torch {torch.__version__}, '
        f'Python {platform.python_version()}; '
        f'`{shlex.join(sys.argv)}`'
    )


def _cpu() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.split(':')[1] for line in lines if 'model name' in line]
    return names[0].strip() if names else platform.machine()


@contextmanager
def figure(panels: int, path: str | Path) -> Iterator[list[Axes]]:
    """Axes side by side, saved as a picture at the end.

    Args:
        panels: Number of axes.
        path: The file, with the suffix of the format.
    """
    with mpl.rc_context(STYLE):
        picture = Figure(figsize=(5.2 * panels, 3.6), layout='constrained')
        yield list(picture.subplots(1, panels, squeeze=False)[0])
        picture.savefig(path, dpi=150)


def draw_groups(
    axes: Axes,
    groups: Mapping[str, Mapping[str, Sequence[float]]],
    label: str,
) -> None:
    """Draw a dot for each seed and a line at the mean.

    Args:
        axes: Where.
        groups: Values of the seeds by group, along x, and by series, told
            apart by colour. With one series there is no legend.
        label: Of the y axis.
    """
    series = list(
        dict.fromkeys(name for group in groups.values() for name in group)
    )
    for i, name in enumerate(series):
        color = PARTS[i % len(PARTS)]
        for x, group in enumerate(groups.values()):
            values = group.get(name, ())
            if not values:
                continue
            centre = x + (i - (len(series) - 1) / 2) * 0.8 / len(series)
            half = 0.28 / len(series)
            mean, _ = mean_std(values)
            axes.plot(
                [centre - half, centre + half], [mean, mean], color=color
            )
            offsets = [
                (n - (len(values) - 1) / 2) * BETWEEN_SEEDS
                for n in range(len(values))
            ]
            axes.plot(
                [centre + offset for offset in offsets],
                values,
                'o',
                color=color,
                alpha=0.7,
                label=name if name not in _labels(axes) else None,
            )
    axes.set_xticks(range(len(groups)), list(groups), color=INK)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.grid(axis='x', visible=False)
    axes.set_ylabel(label)
    if len(series) > 1:
        axes.legend()


def _labels(axes: Axes) -> list[str]:
    return axes.get_legend_handles_labels()[1]


def write_results(
    folder: str | Path, results: Mapping[str, Any], table: str
) -> None:
    """Write ``results.json``, with the machine, and ``table.md``."""
    folder = Path(folder)
    machine = describe_machine()
    text = json.dumps({'machine': machine, **results}, indent=2, default=str)
    (folder / 'results.json').write_text(text + '\n')
    (folder / 'table.md').write_text(f'{table}\n{machine}\n')
