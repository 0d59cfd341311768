# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What is taken for what: a picture for some classes, a list for many."""

import warnings
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np

from .curves import INK, STYLE, make_document
from .markup import Section, join_tables, make_figure, make_table, shorten

#: Matrices of more classes are not drawn.
MOST_DRAWN = 40
#: Larger matrices are drawn without numbers.
MOST_NUMBERED = 20
LONGEST_NAME = 22
LISTED = 20


def confusion_section(
    counts: np.ndarray, names: Sequence[str], classes: int, text: str
) -> Section:
    """The section of a page about a confusion matrix.

    Args:
        counts: ``(n, n)`` integers: row the truth, column the prediction.
        names: The names of rows and columns.
        classes: How many of them are classes; a last one may be background.
        text: What was counted.
    """
    if classes <= MOST_DRAWN:
        text += (
            ' A cell is the share of its row in percent; in brackets: how '
            'many a row counts.'
        )
        body = make_figure(
            'Rows: what is there. Columns: what is predicted.',
            draw_confusion(counts, names),
        )
        return Section(
            'Confusion matrix', text, f'<div class="matrix">{body}</div>'
        )
    text += (
        f' {classes} classes are too many to draw: these are the '
        f'{LISTED} largest confusions.'
    )
    rows = [
        (names[i], [names[j], f'{counts[i, j]:,}', f'{share:.1%}'])
        for i, j, share in list_confusions(counts)
    ]
    head = ['is taken for', 'how often', 'share of all that are']
    return Section(
        'Confusion matrix', text, join_tables(make_table(head, rows))
    )


def list_confusions(
    counts: np.ndarray, number: int = LISTED
) -> list[tuple[int, int, float]]:
    """The largest cells off the diagonal, largest first.

    Returns:
        Row, column, and share of the row in 0..1.
    """
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind='stable')[:number]
    sums = counts.sum(1)
    places = [divmod(int(k), len(counts)) for k in order]
    return [
        (i, j, float(wrong[i, j] / sums[i])) for i, j in places if wrong[i, j]
    ]


def draw_confusion(counts: np.ndarray, names: Sequence[str]) -> str:
    """Draw a confusion matrix as an SVG document.

    Args:
        counts: ``(n, n)`` integers: row the truth, column the prediction.
        names: The names of rows and columns, in any script.
    """
    number = len(names)
    sums = counts.sum(1)
    with np.errstate(invalid='ignore'):
        shares = counts / sums[:, None]
    short = [shorten(name, LONGEST_NAME) for name in names]
    numbered = number <= MOST_NUMBERED
    cell = 0.52 if number <= 12 else 0.4 if numbered else 0.27
    side = max(cell * number, 1.0)
    style = STYLE | {
        'font.size': 10 if numbered else 8,
        'axes.grid': False,
        'axes.spines.left': False,
        'axes.spines.bottom': False,
        # The browser has letters of more scripts than matplotlib.
        'svg.fonttype': 'none',
    }
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Glyph .* missing')
        with make_document((side + 2.8, side + 1.6)) as (axes, document):
            axes.pcolormesh(
                np.ma.masked_invalid(shares),
                cmap='Blues',
                vmin=0,
                vmax=1.1,
                edgecolors='white',
                linewidth=0.8,
            )
            axes.set_aspect('equal')
            axes.invert_yaxis()
            axes.tick_params(length=0)
            places = np.arange(number) + 0.5
            axes.set_xticks(places, short, rotation=90)
            rows = [
                f'{name} ({total:,})'
                for name, total in zip(short, sums.tolist(), strict=True)
            ]
            axes.set_yticks(places, rows)
            for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
                label.set_parse_math(False)  # a $ in a name is a $
            for i, j in np.argwhere(counts) if numbered else ():
                share = shares[i, j]
                axes.text(
                    j + 0.5,
                    i + 0.5,
                    percent(share),
                    ha='center',
                    va='center',
                    color='white' if share > 0.55 else INK,
                    fontsize=9 if number <= 12 else 7.5,
                )
    return document.getvalue()


def percent(share: float) -> str:
    """A share in percent, with a digit more where it is small."""
    value = 100 * share
    if value < 0.1:
        return '<0.1'
    return f'{value:.1f}' if value < 9.95 else f'{value:.0f}'
