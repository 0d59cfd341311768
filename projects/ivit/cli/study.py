# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Do a study on the embedded data, or what is left of it.

Its trainings, results.json, table.md and plot.png go to WORK_DIR/NAME. Call
it again after an interruption, or with more seeds: what is finished stays.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from .. import engine
from ..studies.runs import RunFailed
from .parser import Parser


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser('ivit study', __doc__)
    parser.add_argument('name', choices=('transfer', 'attention', 'fractals'))
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/studies'),
        help='folder for the studies (default: %(default)s)',
    )
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        default=[0, 1, 2],
        help='one of each training for each seed (default: 0 1 2)',
    )
    parser.add_argument(
        '--jobs',
        type=int,
        default=2,
        help='trainings at once, which share the cores (default: %(default)s)',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Do it and print the table."""
    args = parse_args(argv)
    # So that a study that is ended ends its trainings.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('study: terminated'))
    study = import_module(f'ivit.studies.{args.name}')
    folder = args.work_dir / args.name
    try:
        with engine.one_line_errors():
            print(study.run_study(folder, args.seeds, args.jobs))
    except KeyboardInterrupt:
        sys.exit('study: interrupted; call it again to go on')
    except RunFailed as failure:
        sys.exit(f'error: {failure}')
    print(f'written: {folder}/results.json, table.md, plot.png')
