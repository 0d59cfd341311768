# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""One self-contained HTML page about a finished detection training."""

from .facts import Stopwatch, collect_facts
from .history import History
from .page import build_page, write_page
from .samples import SCORE_SHOWN, Instances, Sample, collect_samples

__all__ = [
    'SCORE_SHOWN',
    'History',
    'Instances',
    'Sample',
    'Stopwatch',
    'build_page',
    'collect_facts',
    'collect_samples',
    'write_page',
]
