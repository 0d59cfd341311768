# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Train a detector, segmentor or classifier from a config.

With --data it is trained on a folder of your own: COCO json, YOLO, Pascal VOC,
images and label maps, or class folders. docs/your-data.md tells more.
"""

import argparse
from collections.abc import Sequence

from .. import engine
from ..training import train
from .coco_arguments import add_coco_arguments
from .parser import Parser


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser('ivit train', __doc__)
    parser.add_argument('config', help='path of a config, or name of ours')
    add_data_arguments(parser.add_argument_group('your data'))
    add_start_arguments(parser.add_argument_group('initial weights'))
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
        const=True,
        default=False,
        metavar='CHECKPOINT',
        help='go on from this checkpoint, or from the latest in the work dir',
    )
    return parser.parse_args(argv)


def add_data_arguments(parser: argparse._ArgumentGroup) -> None:
    """Add the options of a training on data of one's own."""
    parser.add_argument(
        '--data', metavar='FOLDER', help='folder of annotated images'
    )
    parser.add_argument(
        '--epochs',
        type=int,
        metavar='N',
        help='how often to go through the data; the schedule is scaled',
    )
    add_coco_arguments(parser, '--data')


def add_start_arguments(parser: argparse._ArgumentGroup) -> None:
    """Add the options that say what a training begins with."""
    parser.add_argument(
        '--pretrained',
        metavar='FILE',
        help='path or address of weights for the backbone, or the name of '
        'weights that come with ivit',
    )
    parser.add_argument(
        '--load-from',
        metavar='FILE',
        help='path or address of weights of a whole model, whose heads may '
        'be for other classes',
    )
    parser.add_argument(
        '--from-scratch',
        action='store_true',
        help='random weights; otherwise --data starts with weights that come '
        'with ivit, if there are any for the backbone',
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and leave the group of processes."""
    args = parse_args(argv)
    with engine.one_line_errors():
        train(**vars(args))
    engine.leave_process_group()
