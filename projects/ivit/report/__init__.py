# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""One self-contained HTML page about a finished training.

Of mmdet, mmseg and mmpretrain a report needs the one that the model is of.
"""

from ..engine.report_hook import ReportHook
from ..engine.stopwatch import Stopwatch
from .history import History
from .markup import Section
from .page import Page, write_page
from .run import make_page, write_report

__all__ = [
    'History',
    'Page',
    'ReportHook',
    'Section',
    'Stopwatch',
    'make_page',
    'write_page',
    'write_report',
]
