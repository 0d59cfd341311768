# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Loss, learning rate and metrics as SVG pictures."""

import io
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

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


class Style(NamedTuple):
    """How a metric is drawn."""

    label: str
    color: str
    linestyle: str


COCO = {
    'coco/bbox_mAP_50': Style('box AP50', BOX, '-'),
    'coco/segm_mAP_50': Style('mask AP50', MASK, '-'),
    'coco/bbox_mAP': Style('box AP', BOX, '--'),
    'coco/segm_mAP': Style('mask AP', MASK, '--'),
}


def draw_curves(history: History) -> dict[str, str]:
    """Draw what a history has.

    Returns:
        SVG documents by their titles; none for what was never logged.
    """
    pictures = {}
    if history.train:
        pictures['Loss'] = _draw_losses(history.train)
    precisions = {
        name: style
        for name, style in COCO.items()
        if _points(history.val, name)
    }
    if precisions:
        pictures['Average precision, validation'] = _draw_metrics(
            history, precisions, 'average precision'
        )
    for group, names in _group_others(history).items():
        title = f'{group or "Metrics"}, validation'
        pictures[title] = _draw_metrics(history, names, group or 'metric')
    if history.train:
        pictures['Learning rate'] = _draw_rate(history.train)
    return pictures


def _draw_losses(records: list[dict[str, float]]) -> str:
    with _figure('iteration', 'loss, running mean') as (axes, svg):
        _plot(axes, records, 'loss', label='total', color=INK)
        parts = [
            name
            for name in records[0]
            if name.rpartition('.')[2].startswith('loss_')
        ]
        for i, name in enumerate(parts):
            _plot(
                axes,
                records,
                name,
                label=name.replace('loss_', '').replace('_', ' '),
                color=PARTS[i % len(PARTS)],
                linewidth=1.3,
            )
        if not any(record['loss'] < 0 for record in records):
            axes.set_ylim(bottom=0)
        axes.legend(ncol=2)
    return svg.getvalue()


def _group_others(history: History) -> dict[str, dict[str, Style]]:
    """Metrics that are not COCO's, by what their names begin with."""
    groups: dict[str, dict[str, Style]] = {}
    for name in history.names():
        group, _, label = name.rpartition('/')
        # COCO's other metrics have tables.
        if group != 'coco' and _points(history.val, name):
            lines = groups.setdefault(group, {})
            color = PARTS[len(lines) % len(PARTS)]
            lines[name] = Style(label, color, '-')
    return groups


def _draw_metrics(
    history: History, lines: Mapping[str, Style], label: str
) -> str:
    with _figure(history.unit, label) as (axes, svg):
        for name, style in lines.items():
            _plot(axes, history.val, name, **style._asdict())
        values = [y for name in lines for _, y in _points(history.val, name)]
        if values and min(values) >= 0:
            # Shares are seen best against the whole.
            axes.set_ylim(0, 1 if max(values) <= 1 else None)
        if len(lines) <= FEW:
            axes.legend(ncol=2, loc='best')
    return svg.getvalue()


def _draw_rate(records: list[dict[str, float]]) -> str:
    with _figure('iteration', 'learning rate') as (axes, svg):
        _plot(axes, records, 'lr', color=INK)
        axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis='y', scilimits=(0, 0), useMathText=True)
    return svg.getvalue()


def _points(
    records: list[dict[str, float]], name: str
) -> list[tuple[float, float]]:
    """Steps and values, without those that are no numbers."""
    return [
        (record['step'], record[name])
        for record in records
        if math.isfinite(record.get(name, math.nan))
        # COCO's mark for nothing to measure.
        and not (name.startswith('coco/') and record[name] < 0)
    ]


def _plot(
    axes: Axes, records: list[dict[str, float]], name: str, **style: Any
) -> None:
    points = _points(records, name)
    marker = 'o' if len(points) <= FEW else None
    xs, ys = zip(*points, strict=True) if points else ((), ())
    axes.plot(xs, ys, marker=marker, **style)


@contextmanager
def _figure(x: str, y: str) -> Iterator[tuple[Axes, io.StringIO]]:
    """Axes to draw a curve on, and the document to have afterwards."""
    with mpl.rc_context(STYLE), make_document((4.8, 3.3)) as (axes, document):
        axes.set(xlabel=x, ylabel=y)
        yield axes, document
        axes.set_xlim(left=0)
        axes.locator_params(axis='x', integer=True)


@contextmanager
def make_document(
    size: tuple[float, float],
) -> Iterator[tuple[Axes, io.StringIO]]:
    """Axes to draw on, and the SVG document to have when that is done.

    Args:
        size: Width and height in inches.
    """
    document = io.StringIO()
    figure = Figure(figsize=size, layout='constrained')
    yield figure.add_subplot(), document
    # Ticks follow from the layout and the layout from the ticks: a second
    # pass, in savefig, settles them.
    figure.draw_without_rendering()
    # Without a date the same numbers give the same picture.
    figure.savefig(document, format='svg', metadata={'Date': None})
