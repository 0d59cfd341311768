# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Time backbones, or attentions, against each other and take their memory.

All run in one process, one after the other in every round, so a machine that
slows down slows all of them; the first one named is the baseline. The table
goes to stdout; --out keeps it, with all times and a picture.

    ivit benchmark swin_t ivit_s --shape 800 1344 --shape 224 224
    ivit benchmark pvt_v2_b2 flatten_pvt_v2_b2 --train
    ivit benchmark flatten_swin_t_naive flatten_swin_t --train
    ivit benchmark swin_t configs/mask_rcnn_ivit_s_coco.py
    ivit benchmark swin_t swin_t+with_cp --train --memory-only --batch 2
    ivit benchmark --attention
    ivit benchmark --attention softmax focused --tokens 784 3136 --train
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from .. import benchmark, engine
from ..benchmark.workload import Setting

DTYPES = ('float32', 'bfloat16', 'float16')


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='ivit benchmark',
        description=__doc__,
        epilog='backbones: ' + ', '.join(benchmark.backbone_names()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        'backbones',
        nargs='*',
        metavar='BACKBONE',
        help='a name of those below, or a config; +with_cp at its end '
        'recomputes blocks, _naive has focused attention as it is '
        'commonly written',
    )
    add(
        '--attention',
        nargs='*',
        choices=benchmark.NAMES,
        metavar='NAME',
        help='single attentions over more and more tokens instead; by default '
        f'{", ".join(benchmark.SWEEP)}; also naive, and, without '
        f'projections, {", ".join(benchmark.CORES)}',
    )
    add(
        '--shape',
        type=int,
        nargs=2,
        action='append',
        metavar=('H', 'W'),
        help='size of the images, 800 1344 by default; more than once for '
        'several tables',
    )
    add('--batch', type=int, default=1)
    add('--train', action='store_true', help='forward and backward')
    add('--dtype', choices=DTYPES, default='float32')
    add(
        '--amp',
        action='store_true',
        help='autocast to --dtype instead of casting weights and images',
    )
    add('--compile', action='store_true', help='run through torch.compile')
    add(
        '--device',
        choices=('cpu', 'cuda'),
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='the GPU by default, where there is one',
    )
    add('--threads', type=int, default=2, help='on the CPU')
    add('--rounds', type=int, default=11, help='6 or more for an interval')
    add('--memory-only', action='store_true', help='time nothing')
    add('--out', type=Path, metavar='DIR', help='JSON, Markdown and a plot')
    group = parser.add_argument_group('of --attention')
    add = group.add_argument
    add(
        '--tokens',
        type=int,
        nargs='+',
        choices=benchmark.TOKENS,
        default=list(benchmark.TOKENS),
        metavar='N',
        help=f'of {", ".join(map(str, benchmark.TOKENS))}',
    )
    add('--dim', type=int, default=384, help='channels, as in ViT-S')
    add('--heads', type=int, default=6)
    add(
        '--max-memory',
        type=float,
        default=8,
        metavar='GIB',
        help='leave out attention matrices that would be larger',
    )
    add(
        '--max-seconds',
        type=float,
        default=20,
        metavar='S',
        help='leave out softmax attention that would take longer for a pass',
    )
    args = parser.parse_args(argv)
    if (args.attention is None) == (not args.backbones):
        parser.error('name backbones, or give --attention')
    for name in ('batch', 'threads', 'rounds'):
        if getattr(args, name) < 1:
            parser.error(f'--{name} has to be at least 1')
    if args.amp and args.dtype == 'float32':
        parser.error('--amp needs --dtype bfloat16 or float16')
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda: there is no GPU that torch can use')
    args.shape = args.shape or [[800, 1344]]
    if min(map(min, args.shape)) < 1:
        parser.error('--shape: both sides have to be at least 1')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    args = parse_args(argv)
    setting = Setting(
        args.train,
        args.batch,
        args.dtype,
        args.amp,
        args.compile,
        args.device,
        args.threads,
    )
    rounds = 0 if args.memory_only else args.rounds
    with engine.one_line_errors():
        if args.attention is not None:
            results = benchmark.sweep(
                args.attention or benchmark.SWEEP,
                args.tokens,
                args.dim,
                args.heads,
                setting,
                rounds,
                args.max_memory * 2**30,
                args.max_seconds,
            )
        else:
            results = [
                benchmark.compare(
                    {
                        name: benchmark.BackboneWork(name, (h, w), setting)
                        for name in args.backbones
                    },
                    setting,
                    f'{args.batch} x 3 x {h} x {w}',
                    rounds,
                    args.backbones[0],
                )
                for h, w in args.shape
            ]
    print(benchmark.markdown(results), end='')
    if args.out:
        benchmark.write(results, args.out)
