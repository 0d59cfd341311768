# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Give the FLatten authors' files the names of mmpretrain, and back.

The configs take the authors' files as they are: this is for programs that
read names of mmpretrain, and to give a classifier trained here to the
authors' code. There and back again every tensor under 'model' is the same.

    ivit convert flatten_swin_t.pth ours.pth
    ivit convert ours.pth theirs.pth --to official
"""

import argparse
from collections.abc import Sequence

from mmengine.runner import CheckpointLoader

from .. import checkpoints, engine
from .parser import Parser


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser('ivit convert', __doc__)
    parser.add_argument('checkpoint', metavar='IN', help='checkpoint file')
    parser.add_argument('out', metavar='OUT', help='new file')
    parser.add_argument(
        '--to',
        choices=('mmpretrain', 'official'),
        default='mmpretrain',
        help='whose names the new file has (default: %(default)s)',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the file and say what became of everything."""
    args = parse_args(argv)
    back = args.to == 'official'
    with engine.one_line_errors():
        engine.check_checkpoint_path(args.checkpoint)
        content = CheckpointLoader.load_checkpoint(
            args.checkpoint, map_location='cpu', logger='silent'
        )
        convert = (
            checkpoints.to_official if back else checkpoints.from_official
        )
        converted = convert(content)
        checkpoints.save_new(converted, args.out)
    weights = converted['model' if back else 'state_dict']
    print(f'{args.out}: {len(weights)} tensors')
    for name in converted.get('official', {}):
        print(f"kept aside under 'official', for the way back: {name}")
    rest = set(content).difference(weights, {'model', 'state_dict'})
    if back:
        rest.discard('official')
    print(f'left out: {", ".join(sorted(rest)) or "nothing"}')
