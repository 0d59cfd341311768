# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Run a command line tool in this process."""

import runpy
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


def run_tool(monkeypatch, name, *args):
    """As ``tools/NAME.py ARGS`` does."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, 'argv', [name, *map(str, args)])
        patch.setattr(sys, 'path', sys.path[:])
        runpy.run_path(str(TOOLS / f'{name}.py'), run_name='__main__')
