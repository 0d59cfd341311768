# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What a report says of the training itself."""

from .curves import draw_curves
from .history import History
from .markup import Section, make_figure


def training_section(history: History) -> Section:
    """The curves of losses and metrics."""
    figures = ''.join(
        make_figure(title, svg) for title, svg in draw_curves(history).items()
    )
    text = '' if figures else 'Nothing was logged.'
    return Section('Training', text, f'<div class="curves">{figures}</div>')
