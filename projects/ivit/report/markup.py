# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Pieces of HTML that the sections of a page are made of."""

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from .history import NOT_AVAILABLE, History
from .overlay import Color


@dataclass
class Section:
    """A part of the page.

    Attributes:
        heading: Plain text.
        text: What the reader has to know about it, plain text.
        body: HTML.
    """

    heading: str
    text: str
    body: str

    def html(self) -> str:
        """The section as HTML."""
        text = f'<p>{escape(self.text)}</p>\n' if self.text else ''
        return f'<h2>{escape(self.heading)}</h2>\n{text}{self.body}\n'


@dataclass
class Pair:
    """An image twice: what is there, and what the model sees.

    Attributes:
        name: What it is called, plain text.
        truth: A picture as HTML, and a line about it as plain text.
        prediction: Likewise.
    """

    name: str
    truth: tuple[str, str]
    prediction: tuple[str, str]

    def html(self) -> str:
        """The pair as HTML."""
        sides = ''.join(
            f'<figure><figcaption><b>{side}</b> {escape(line)}</figcaption>'
            f'{picture}</figure>'
            for side, (picture, line) in (
                ('Ground truth', self.truth),
                ('Prediction', self.prediction),
            )
        )
        return (
            f'<article class="pair"><h3>{escape(self.name)}</h3>{sides}'
            '</article>'
        )


def join_pairs(pairs: Iterable[Pair]) -> str:
    """Pairs in a grid."""
    return f'<div class="pairs">{"".join(p.html() for p in pairs)}</div>'


def make_table(
    head: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]
) -> str:
    """A table of plain texts.

    Args:
        head: The names of the columns after the first.
        rows: The name of each row, and its cells.
    """
    cells = ''.join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = ''.join(
        f'<tr><th scope="row" title="{escape(name)}">{escape(name)}</th>'
        + ''.join(f'<td>{escape(value)}</td>' for value in values)
        + '</tr>'
        for name, values in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr><td></td>{cells}</tr></thead>'
        f'<tbody>{body}</tbody></table></div>'
    )


def join_tables(*tables: str) -> str:
    """Tables side by side where there is room."""
    inner = ''.join(f'<div>{table}</div>' for table in tables if table)
    return f'<div class="tables">{inner}</div>'


def list_metrics(history: History, digits: int = 3) -> str:
    """A table of all that the last evaluation logged, as it was logged."""
    rows = [(name, [history.shown(name, digits)]) for name in history.names()]
    return make_table(['logged'], rows) if rows else ''


def make_figure(title: str, svg: str) -> str:
    """An SVG document with a title, as part of a page."""
    # As an image, so that the names inside two pictures cannot clash.
    data = base64.b64encode(svg.encode()).decode('ascii')
    title = escape(title)
    return (
        f'<figure><figcaption>{title}</figcaption><img alt="{title}" '
        f'src="data:image/svg+xml;base64,{data}"></figure>'
    )


def make_legend(classes: Sequence[str], palette: Sequence[Color]) -> str:
    """The names of classes with their colours."""
    entries = ''.join(
        f'<li><span style="background:rgb{tuple(color)}"></span>'
        f'{escape(name)}</li>'
        for name, color in zip(classes, palette, strict=True)
    )
    return f'<ul class="legend" aria-label="Classes">{entries}</ul>'


def make_facts(facts: Mapping[str, Mapping[str, str]]) -> str:
    """Lists of names and values under small headings."""
    lists = ''.join(
        f'<section><h3>{escape(heading)}</h3><dl>'
        + ''.join(
            f'<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>'
            for name, value in entries.items()
        )
        + '</dl></section>'
        for heading, entries in facts.items()
    )
    return f'<div class="facts">{lists}</div>'


def shown(value: float, digits: int = 3) -> str:
    """A number, or n/a for NaN."""
    return NOT_AVAILABLE if math.isnan(value) else f'{value:.{digits}f}'


def counted(number: int, what: str) -> str:
    """A number of things, as in ``2 objects``."""
    return f'{number:,} {what}' + ('' if number == 1 else 's')


def shorten(name: str, most: int) -> str:
    """A name without its middle, where it is long."""
    if len(name) <= most:
        return name
    start = most // 2
    return f'{name[:start]}…{name[len(name) - (most - start - 1) :]}'
