# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Make of a training's checkpoint a file to give to others.

What stays is the weights and, in ``meta``, the config, the classes and how
far the training was; optimizer, schedulers and hooks go. The start of the
SHA-256 goes into the name. Nothing is overwritten.

    ivit publish work_dirs/x/epoch_300.pth weights/ivit_t
    -> weights/ivit_t-0a1b2c3d.pth
    ivit publish work_dirs/x/epoch_300.pth weights/ivit_t.safetensors
    -> weights/ivit_t-0a1b2c3d.safetensors

Both are the same to every command that takes a checkpoint. With --backbone it
is the backbone alone, in float16, for trainings to start from, as
OUT.safetensors.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmengine.runner import CheckpointLoader

from .. import checkpoints, engine
from .parser import Parser


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser('ivit publish', __doc__)
    parser.add_argument('checkpoint', metavar='IN', help='checkpoint file')
    parser.add_argument(
        'out',
        metavar='OUT',
        help='path of the new file, without -HASH; a file of safetensors if '
        'it ends with .safetensors, one of torch otherwise',
    )
    parser.add_argument(
        '--ema',
        action='store_true',
        help='take the weights averaged by EMAHook, those that the training '
        'was validated with; by default the trained ones',
    )
    parser.add_argument(
        '--backbone',
        action='store_true',
        help='the backbone alone, in float16',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the file and print its path."""
    args = parse_args(argv)
    with engine.one_line_errors():
        engine.check_checkpoint_path(args.checkpoint)
        content = CheckpointLoader.load_checkpoint(
            args.checkpoint, map_location='cpu', logger='silent'
        )
        published = checkpoints.strip_checkpoint(content, args.ema)
        kept = published['state_dict']
        if args.backbone:
            kept = checkpoints.backbone_weights(kept)
            ending = '.safetensors'
            path = Path(f'{args.out.removesuffix(ending)}{ending}')
            digest = checkpoints.save_safetensors(kept, path)
        else:
            path = checkpoints.save_hashed(published, args.out)
    kind = ''
    if 'ema_state_dict' in content:
        kind = ', averaged by EMAHook' if args.ema else ', not averaged'
    print(f'{path}: {len(kept)} tensors{kind}')
    if args.backbone:
        print(f'SHA-256: {digest}')
