# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Loss, learning rate and average precision as SVG pictures."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .history import History

BOX, MASK, INK, FAINT = '#1f6f8b', '#d1603d', '#1d2733', '#d5dbe1'
PARTS = ('#1f6f8b', '#d1603d', '#7a9e3b', '#8a5fa8', '#b8860b', '#5b6770')
# Matplotlib's versions differ in the type of the names.
STYLE: dict[Any, Any] = {
    'font.size': 11,
    'text.color': INK,
    'axes.labelcolor': INK,
    'xtick.color': INK,
    'ytick.color': INK,
    'axes.edgecolor': FAINT,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'grid.color': FAINT,
    'grid.linewidth': 0.6,
    'legend.frameon': False,
    'lines.linewidth': 1.8,
    'lines.markersize': 5,
    'svg.hashsalt': 'ivit',
}
FEW = 20  # points that are marked one by one


def draw_curves(history: History) -> dict[str, str]:
    """Draw what a history has.

    Returns:
        SVG documents by their titles; none for what was never logged.
    """
    pictures = {}
    if history.train:
        pictures['Loss'] = _loss(history.train)
    if any('coco/bbox_mAP' in record for record in history.val):
        pictures['Average precision, validation'] = _precision(history.val)
    if history.train:
        pictures['Learning rate'] = _learning_rate(history.train)
    return pictures


def _loss(records: list[dict[str, float]]) -> str:
    with _figure('iteration', 'loss, running mean') as (axes, svg):
        _plot(axes, records, 'loss', label='total', color=INK)
        parts = [name for name in records[0] if name.startswith('loss_')]
        for i, name in enumerate(parts):
            _plot(
                axes,
                records,
                name,
                label=name.removeprefix('loss_').replace('_', ' '),
                color=PARTS[i % len(PARTS)],
                linewidth=1.3,
            )
        axes.set_ylim(bottom=0)
        axes.legend(ncol=2)
    return svg.getvalue()


def _precision(records: list[dict[str, float]]) -> str:
    with _figure('epoch', 'average precision') as (axes, svg):
        for metric, label, style in (
            ('mAP_50', 'AP50', '-'),
            ('mAP', 'AP', '--'),
        ):
            for kind, name, color in (
                ('bbox', 'box', BOX),
                ('segm', 'mask', MASK),
            ):
                _plot(
                    axes,
                    records,
                    f'coco/{kind}_{metric}',
                    label=f'{name} {label}',
                    color=color,
                    linestyle=style,
                )
        axes.set_ylim(0, 1)
        axes.legend(ncol=2, loc='upper left')
    return svg.getvalue()


def _learning_rate(records: list[dict[str, float]]) -> str:
    with _figure('iteration', 'learning rate') as (axes, svg):
        _plot(axes, records, 'lr', color=INK)
        axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis='y', scilimits=(0, 0), useMathText=True)
    return svg.getvalue()


def _plot(
    axes: Axes, records: list[dict[str, float]], name: str, **style: Any
) -> None:
    points = [
        (record['step'], record[name])
        for record in records
        if record.get(name, -1) >= 0
    ]
    marker = 'o' if len(points) <= FEW else None
    axes.plot(*zip(*points, strict=True), marker=marker, **style)


@contextmanager
def _figure(x: str, y: str) -> Iterator[tuple[Axes, io.StringIO]]:
    """Axes to draw on, and the document to have when that is done."""
    document = io.StringIO()
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 3.3), layout='constrained')
        axes = figure.add_subplot(xlabel=x, ylabel=y)
        yield axes, document
        axes.set_xlim(left=0)
        axes.locator_params(axis='x', integer=True)
        # Ticks follow from the layout and the layout from the ticks: a second
        # pass, in savefig, settles them.
        figure.draw_without_rendering()
        # Without a date the same history gives the same picture.
        figure.savefig(document, format='svg', metadata={'Date': None})
