# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Count the parameters, MACs and FLOPs of a config's model.

One image goes through every part that inference runs, by shapes alone: no
data, no weights. A MAC is one multiply-add of a convolution, linear layer or
matrix product, and two FLOPs; what the literature on backbones calls FLOPs
are these MACs, and often those of convolutions and linear layers alone: the
column "products" says how many of the MACs are products of two activations,
as in attention. What else ran is listed below the table. A detector's second
stage sees 1000 boxes, its masks 100, as in mmdet.

    ivit flops configs/mask_rcnn_flatten_swin_t_coco.py
    ivit flops configs/upernet_flatten_swin_t_ade20k.py --shape 512 512
"""

import argparse
import textwrap
from collections.abc import Sequence

from mmengine.config import Config, DictAction
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from .. import engine
from ..benchmark.cost import Cost
from ..benchmark.parts import PartCosts, count_parts
from .parser import Parser

# Height and width that tables of results are made for.
SHAPES = dict(mmdet=(800, 1280), mmseg=(512, 2048), mmpretrain=(224, 224))
HEADER = ('', 'params (M)', 'MACs (G)', 'FLOPs (G)', 'products (G)')


def table(model: nn.Module, parts: PartCosts) -> str:
    """Rows of parameters and costs, parts in the model's order."""
    rows: list[tuple[str, ...]] = [HEADER]

    def add(name: str, modules: list[nn.Module], cost: Cost | None) -> None:
        params = sum(p.numel() for m in modules for p in m.parameters())
        numbers = ['not run', '', '']
        if cost is not None:
            numbers = [
                f'{number / 1e9:.2f}'
                for number in (cost.macs, 2 * cost.macs, cost.products)
            ]
        rows.append((name, f'{params / 1e6:.2f}', *numbers))

    costs = dict(parts.costs)
    for name, module in model.named_children():
        if name in costs or any(True for _ in module.parameters()):
            add(name, [module], costs.pop(name, None))
    for name, cost in costs.items():
        if cost.macs:
            add(name, [], cost)
    add('total', [model], parts.total)
    first = max(len(row[0]) for row in rows)
    return '\n'.join(
        f'{row[0]:{first}}' + ''.join(f'{cell:>13}' for cell in row[1:])
        for row in rows
    )


def not_counted(parts: PartCosts) -> str:
    """What the table does not have."""
    ran = ', '.join(
        f'{name} {elements / 1e6:.1f}'
        for name, elements in parts.total.uncounted.most_common()
    )
    lines = [
        f'Ran and is not counted, with millions of elements: {ran}.',
        'Post-processing, such as the choice of boxes with NMS, was not run.',
        *(
            f'{name} was left out: {why}.'
            for name, why in parts.left_out.items()
        ),
    ]
    return '\n'.join(textwrap.fill(line, 79) for line in lines)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser('ivit flops', __doc__)
    parser.add_argument('config', help='path of a config, or name of ours')
    parser.add_argument(
        '--shape',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help='size of the image; by default 800 1280 for a detector, 512 2048 '
        'for a segmentor, 224 224 for a classifier',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change the config: a.b=1',
    )
    return parser.parse_args(argv)


def image_shape(cfg: Config, shape: list[int] | None) -> tuple[int, int]:
    """The size asked for, or the one usual for the task."""
    scope = cfg.get('default_scope')
    if shape is None and scope not in SHAPES:
        raise engine.UsageError(
            f'default_scope={scope!r} is none of {", ".join(SHAPES)}, so no '
            'size of images is usual; give one with --shape H W'
        )
    if shape is not None and min(shape) < 1:
        raise engine.UsageError(
            f'--shape {shape[0]} {shape[1]}: both have to be at least 1'
        )
    height, width = shape or SHAPES[scope]
    return height, width


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    args = parse_args(argv)
    with engine.one_line_errors():
        cfg = engine.load_config(args.config, args.cfg_options)
        shape = image_shape(cfg, args.shape)
        scope = cfg.get('default_scope') or 'mmengine'
        init_default_scope(scope)
        if 'model' not in cfg:
            raise engine.UsageError(f'{args.config} has no model')
        engine.merge_data_preprocessor(cfg)
        model = MODELS.build(cfg.model)
        parts = count_parts(model, shape)
    print(f'{args.config}, one image of {shape[0]} x {shape[1]}')
    print(table(model, parts))
    print(not_counted(parts))
