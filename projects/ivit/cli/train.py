# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Train a detector, segmentor or classifier from a config."""

import argparse
from collections.abc import Sequence

from mmengine.config import Config

from .. import engine


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog='ivit train', description=__doc__)
    parser.add_argument('config', help='path of a config, or name of ours')
    engine.add_common_arguments(parser)
    parser.add_argument(
        '--amp',
        action='store_true',
        help='mixed precision: float16 on a GPU, bfloat16 on the CPU',
    )
    parser.add_argument(
        '--compile',
        action='store_true',
        help='compile the backbone; the first step takes minutes',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate to the total batch size',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from this checkpoint, or from the latest in the work dir',
    )
    return parser.parse_args(argv)


def apply_options(cfg: Config, args: argparse.Namespace) -> None:
    """Apply the options that only training has, in place."""
    engine.set_amp(cfg, args.amp)
    engine.set_compile(cfg, args.compile)
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise engine.UsageError(
                '--auto-scale-lr needs the total batch size that the '
                'learning rate was chosen for; add to the config: '
                'auto_scale_lr = dict(base_batch_size=16)'
            )
        cfg.auto_scale_lr.enable = True
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    engine.check_checkpoint_path(cfg.get('load_from'))


def train(args: argparse.Namespace) -> None:
    """Train as the command line says."""
    cfg = engine.load_config(
        args.config,
        args.cfg_options,
        args.work_dir,
        args.launcher,
        args.local_rank,
    )
    apply_options(cfg, args)
    engine.check_data(cfg, ('train', 'val'))
    engine.build_runner(cfg, bool(cfg.get('resume'))).train()


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and leave the group of processes."""
    args = parse_args(argv)
    with engine.one_line_errors():
        train(args)
    engine.leave_process_group()
