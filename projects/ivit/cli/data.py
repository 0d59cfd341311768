# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Look at data before training on it: faults, counts, sizes and pictures.

The folder may have COCO json, YOLO, Pascal VOC, images and label maps, or
class folders; nothing is written into it. The exit status is 1 if something
is wrong that training must not start with.

    ivit data my_dataset
    ivit data --train-ann a.json --train-images photos --out look.html
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import engine
from ..annotations import AnnotatedData, Task
from ..annotations.checks import check
from ..annotations.faults import Faults
from ..annotations.split import SHARE
from ..data_page import make_data_page
from ..own_data.prepare import DataPaths
from ..report.page import write_page
from .coco_arguments import add_coco_arguments
from .parser import Parser

# Of a table that no one looks at in a terminal.
WIDTH = 160
COLORS = dict(error='bold red', warning='yellow')


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser('ivit data', __doc__)
    parser.add_argument(
        'folder',
        nargs='?',
        metavar='FOLDER',
        help='folder of annotated images',
    )
    parser.add_argument(
        '--task',
        choices=get_args(Task),
        help='what the annotations are for, where a folder has several',
    )
    parser.add_argument(
        '--out',
        type=Path,
        metavar='PAGE.html',
        help='the page (default: work_dirs/data/NAME.html)',
    )
    add_coco_arguments(parser, 'FOLDER')
    return parser.parse_args(argv)


def choose_page(out: Path | None, paths: DataPaths) -> Path:
    """The path of the page.

    Raises:
        UsageError: If it is not one of a page, and could be a file of data.
    """
    if out is None:
        return Path('work_dirs', 'data', f'{paths.name}.html')
    if out.suffix.lower() not in ('.html', '.htm'):
        raise engine.UsageError(
            f'--out {out}: the page is HTML; name it {out.name}.html'
        )
    return out


def make_table(faults: Faults) -> Table:
    """Faults as a table, errors first."""
    table = Table()
    table.add_column('level', no_wrap=True)
    table.add_column('what', overflow='fold')
    table.add_column('times', justify='right', no_wrap=True)
    table.add_column('first place', overflow='fold')
    table.add_column('remedy', overflow='fold')
    for fault in faults:
        # As Text: brackets in a path are no markup.
        table.add_row(
            Text(fault.kind.level, COLORS[fault.kind.level]),
            Text(fault.kind.text),
            f'{fault.count:,}',
            Text(fault.first),
            Text(fault.kind.remedy),
            end_section=True,
        )
    return table


def show(data: AnnotatedData, console: Console) -> None:
    """Print what was read, decided and found."""
    counts = ', '.join(
        f'{len(split):,} for {name}' for name, split in data.splits.items()
    )
    lines = [
        f'{data.root}: {data.layout}, {data.task}',
        f'images: {counts}',
        f'{len(data.classes)} classes: {", ".join(data.classes)}',
        *data.notes,
    ]
    if 'val' not in data.splits:
        lines.append(
            f'There is no validation split: a training sets {SHARE:.0%} of '
            'the images aside for it, the same ones every time.'
        )
    for line in lines:
        console.print(Text(line), soft_wrap=True)
    if len(data.faults):
        console.print(make_table(data.faults))
    console.print(
        f'errors: {len(data.faults.errors)}, '
        f'warnings: {len(data.faults.warnings)}'
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Check the data, write the page and print what is wrong."""
    args = parse_args(argv)
    with engine.one_line_errors():
        paths = DataPaths(
            args.folder,
            args.train_ann,
            args.train_images,
            args.val_ann,
            args.val_images,
        )
        page = choose_page(args.out, paths)
        data = paths.read(args.task)
        check(data, quick=False, progress=True)
        page.parent.mkdir(parents=True, exist_ok=True)
        write_page(make_data_page(data), page)
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else WIDTH, highlight=False)
    show(data, console)
    console.print(Text(f'page: {page}'), soft_wrap=True)
    if data.faults.errors:
        sys.exit(1)
