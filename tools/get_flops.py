#!/usr/bin/env python
# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Count the parameters and multiply-adds (MACs) of a config's model.

One image goes through every part on the meta device: shapes alone, no data,
no weights, no arithmetic. Convolutions, linear layers and matrix products
count, as they run; norms, activations, softmax, pooling, RoIAlign and
resizing do not. A detector's second stage sees 1000 boxes, its masks 100, as
in mmdet. What the literature on backbones calls FLOPs are these MACs, and
often those of convolutions and linear layers alone: the column "products"
says how many of the MACs are products of two activations, as in attention.

    tools/get_flops.py configs/mask_rcnn_flatten_swin_t_coco.py
    tools/get_flops.py configs/upernet_flatten_swin_t_ade20k.py --shape 512 512
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'projects'))

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ivit import engine

# Height and width that tables of results are made for.
SHAPES = dict(mmdet=(800, 1280), mmseg=(512, 2048), mmpretrain=(224, 224))
BOXES, MASKS = 1000, 100
PRODUCTS = ('bmm', 'baddbmm', 'scaled_dot_product')
# Parts that turn maps into predictions; a model has one of each name at most.
HEADS = ('rpn_head', 'bbox_head', 'decode_head', 'head')


@dataclass
class Cost:
    """What one image takes; ``products`` is the share of ``macs``."""

    macs: int = 0
    products: int = 0


@contextmanager
def measure(costs: dict[str, Cost], part: str) -> Iterator[None]:
    """Keep what runs inside as the cost of a part."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        yield
    cost = costs[part] = Cost()
    for op, flops in counter.get_flop_counts().get('Global', {}).items():
        cost.macs += flops // 2
        if any(name in str(op) for name in PRODUCTS):
            cost.products += flops // 2


def count(model: nn.Module, shape: tuple[int, int]) -> dict[str, Cost]:
    """The cost of every part of a detector, segmentor or classifier.

    Args:
        model: A model of mmdet, mmseg or mmpretrain.
        shape: Height and width of the image.

    Returns:
        A cost for every part that inference runs.

    Raises:
        UsageError: If the model has no backbone.
    """
    if not hasattr(model, 'backbone'):
        raise engine.UsageError(
            f'{type(model).__name__} has no backbone; get_flops.py counts '
            'detectors, segmentors and classifiers of mmdet, mmseg and '
            'mmpretrain'
        )
    model.to('meta').train(False)
    costs: dict[str, Cost] = {}
    x = torch.empty(1, 3, *shape, device='meta')
    with measure(costs, 'backbone'):
        x = model.backbone(x)
    if getattr(model, 'neck', None) is not None:
        with measure(costs, 'neck'):
            x = model.neck(x)
    for name in HEADS:
        if getattr(model, name, None) is not None:
            with measure(costs, name):
                getattr(model, name)(x)
    if getattr(model, 'roi_head', None) is not None:
        with measure(costs, 'roi_head'):
            run_roi_head(model.roi_head, x)
    return costs


def run_roi_head(roi_head: nn.Module, maps: tuple[Tensor, ...]) -> None:
    """Every stage of mmdet's (Cascade) R-CNN, with and without masks."""
    for kind, number in dict(bbox=BOXES, mask=MASKS).items():
        if not getattr(roi_head, f'with_{kind}'):
            continue
        heads = getattr(roi_head, f'{kind}_head')
        extractors = getattr(roi_head, f'{kind}_roi_extractor')
        if not isinstance(heads, nn.ModuleList):
            heads, extractors = [heads], [extractors]
        for head, extractor in zip(heads, extractors, strict=True):
            size = extractor.roi_layers[0].output_size
            head(maps[0].new_empty(number, extractor.out_channels, *size))


def table(model: nn.Module, costs: dict[str, Cost]) -> str:
    """Rows of parameters and costs, parts in the model's order."""
    rows = [f'{"":16} {"params (M)":>10} {"MACs (G)":>10} {"products":>10}']

    def add(name: str, module: nn.Module, cost: Cost | None) -> None:
        millions = sum(p.numel() for p in module.parameters()) / 1e6
        numbers = (
            f'{cost.macs / 1e9:10.2f} {cost.products / 1e9:10.2f}'
            if cost
            else f'{"not run":>10}'
        )
        rows.append(f'{name:16} {millions:10.2f} {numbers}')

    for name, module in model.named_children():
        if name in costs or any(True for _ in module.parameters()):
            add(name, module, costs.get(name))
    total = Cost(
        sum(cost.macs for cost in costs.values()),
        sum(cost.products for cost in costs.values()),
    )
    add('total', model, total)
    return '\n'.join(rows)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config file')
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
    parser.set_defaults(work_dir=None, launcher='none', local_rank=0)
    return parser.parse_args()


def image_shape(cfg: Config, shape: list[int] | None) -> tuple[int, ...]:
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
    return tuple(shape or SHAPES[scope])


def main() -> None:
    """Print the table."""
    args = parse_args()
    with engine.one_line_errors():
        cfg = engine.load_config(args)
        shape = image_shape(cfg, args.shape)
        init_default_scope(cfg.get('default_scope', 'mmengine'))
        model = MODELS.build(cfg.model)
        costs = count(model, shape)
    print(f'{args.config}, one image of {shape[0]} x {shape[1]}')
    print(table(model, costs))


if __name__ == '__main__':
    main()
