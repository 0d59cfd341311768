#!/usr/bin/env python
# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Time backbones against each other, interleaved in one process.

The first one named is the baseline. Every round runs each backbone once, so
a machine that slows down slows all of them; the ratio is the median of the
rounds' ratios.

    python tools/benchmark.py swin_t ivit_s --shape 800 1344 --threads 2
"""

import argparse
import platform
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'projects'))

import torch
from mmengine.registry import MODELS
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import ivit  # noqa: F401  registers the backbones

BACKBONES = {
    **{f'ivit_{a}': dict(type='IViT', arch=a) for a in 'ntsb'},
    'swin_t': dict(
        type='mmdet.SwinTransformer',
        embed_dims=96,
        depths=(2, 2, 6, 2),
        num_heads=(3, 6, 12, 24),
    ),
    'resnet50': dict(type='mmdet.ResNet', depth=50),
    'pvt_v2_b2': dict(
        type='mmdet.PyramidVisionTransformerV2',
        embed_dims=64,
        num_layers=[3, 4, 6, 3],
    ),
}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('backbones', nargs='+', choices=BACKBONES)
    parser.add_argument(
        '--shape', type=int, nargs=2, default=(800, 1344), metavar=('H', 'W')
    )
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=10)
    parser.add_argument(
        '--train', action='store_true', help='forward and backward'
    )
    return parser.parse_args()


def seconds(model: nn.Module, x: torch.Tensor, train: bool) -> float:
    """Time one pass."""
    start = time.perf_counter()
    if train:
        sum(out.mean() for out in model(x)).backward()
        model.zero_grad()
    else:
        with torch.inference_mode():
            model(x)
    return time.perf_counter() - start


def gmacs(model: nn.Module, image: torch.Tensor) -> float:
    """Multiply-adds of convolutions and products, in 1e9, for one image."""
    model.train(False)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    return counter.get_total_flops() / 2e9


def main() -> None:
    """Print a table of times and ratios."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    x = torch.randn(args.batch, 3, *args.shape)
    models = {name: MODELS.build(BACKBONES[name]) for name in args.backbones}
    for model in models.values():
        model.train(args.train)
        for _ in range(2):
            seconds(model, x, args.train)
    rounds = [
        {name: seconds(model, x, args.train) for name, model in models.items()}
        for _ in range(args.rounds)
    ]
    print(
        f'{tuple(x.shape)} float32, {"training" if args.train else "forward"}'
        f', {args.threads} threads, {args.rounds} rounds; torch '
        f'{torch.__version__}, Python {platform.python_version()}'
    )
    baseline = args.backbones[0]
    print(
        f'{"backbone":12} {"params":>8} {"GMACs":>7} {"median":>9} '
        f'{"min":>9}  speed'
    )
    for name, model in models.items():
        times = [times[name] for times in rounds]
        speed = statistics.median(r[baseline] / r[name] for r in rounds)
        params = sum(p.numel() for p in model.parameters()) / 1e6
        print(
            f'{name:12} {params:7.1f}M {gmacs(model, x[:1]):7.2f} '
            f'{statistics.median(times):8.3f}s {min(times):8.3f}s '
            f'{speed:6.2f} x'
        )


if __name__ == '__main__':
    main()
