# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""One self-contained HTML page about a finished detection training."""

# ruff: noqa: E402 (the imports below need mmdet)
from ..frameworks import require

require('mmdet', __name__)

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
