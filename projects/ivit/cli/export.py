# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Write a trained model as an ONNX file for images of any size.

The file takes RGB images (B, 3, H, W) of uint8 and needs no PyTorch. It is
compared with PyTorch before it gets its name. docs/export.md tells more.

    ivit export work_dirs/my_run --out model.onnx
    ivit export mask_rcnn_ivit_s_coco --out untrained.onnx
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from mmengine.config import DictAction

from .. import engine
from .parser import Parser

PACKAGES = ('onnx', 'onnxruntime', 'onnxscript')
SMALLER = dict(
    int8='int8 for CPUs, calibrated on the training data of the config; '
    'metrics and speed are compared with float32',
    half='float16 for GPUs; metrics and speed are compared with float32',
)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser('ivit export', __doc__)
    parser.add_argument(
        'run', help='folder of a training, path of a config, or name of ours'
    )
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='checkpoint file; by default the best or latest of the training, '
        'and random weights for a config',
    )
    parser.add_argument(
        '--out', required=True, metavar='FILE.onnx', help='the file to write'
    )
    parser.add_argument(
        '--part',
        choices=('model', 'backbone'),
        default='model',
        help='the whole model, or backbone and neck (default: %(default)s)',
    )
    parser.add_argument(
        '--shape',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help='height and width of all images; any by default',
    )
    parser.add_argument(
        '--batch',
        type=int,
        metavar='N',
        help='number of images; any by default',
    )
    parser.add_argument(
        '--logits',
        action='store_true',
        help='let a segmentor return its logits too',
    )
    numbers = parser.add_mutually_exclusive_group()
    for option, words in SMALLER.items():
        numbers.add_argument(
            f'--{option}',
            dest='numbers',
            action='store_const',
            const=option,
            default='float32',
            help=words,
        )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change the config: a.b=1 c="[1,2]"',
    )
    return parser.parse_args(argv)


def import_export() -> Callable[..., Any]:
    """The function, whose packages are an extra.

    Raises:
        UsageError: If they are not installed.
    """
    try:
        from ..export import export
    except ImportError as error:
        if (error.name or '').partition('.')[0] not in PACKAGES:
            raise
        raise engine.UsageError(
            f"{error.name} is not installed: pip install 'ivit[onnx]'"
        ) from error
    return export


def main(argv: Sequence[str] | None = None) -> None:
    """Export, and print what came out."""
    options = vars(parse_args(argv))
    with engine.one_line_errors():
        export = import_export()
        shape = options.pop('shape')
        done = export(**options, shape=shape and tuple(shape))
    print(
        f'{done.path}: {done.task}, outputs {", ".join(done.outputs)}, '
        f'weights: {done.weights}\n'
        f'onnxruntime against PyTorch: {done.differences} ({done.pictures})'
    )
    if done.notes:
        print(done.notes)
