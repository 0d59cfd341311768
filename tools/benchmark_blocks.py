#!/usr/bin/env python
# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Time the convolutional blocks that iViT could have had in stages 1 and 2.

python tools/benchmark_blocks.py --threads 2
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'projects'))

import torch
from torch import Tensor, nn

from ivit.attention import PointwiseLinear
from ivit.backbones.ivit import ConvBlock

BN = dict(type='BN')


class ChannelsLast(nn.Module):
    """Applies a module for tokens to the channels of a map."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.modules_ = nn.Sequential(*modules)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C', H, W)``."""
        tokens = self.modules_(x.flatten(2).transpose(1, 2))
        return tokens.transpose(1, 2).unflatten(2, x.shape[2:])


def depthwise(
    dim: int, kernel: int, ratio: int, linear: type[nn.Linear]
) -> nn.Sequential:
    """Depthwise convolution, LayerNorm and an MLP."""
    return nn.Sequential(
        nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim),
        ChannelsLast(
            nn.LayerNorm(dim),
            linear(dim, ratio * dim),
            nn.GELU(),
            linear(ratio * dim, dim),
        ),
    )


def inverted(dim: int, ratio: int) -> nn.Sequential:
    """Expansion, 3 x 3 depthwise convolution and projection (MBConv)."""
    hidden = ratio * dim
    return nn.Sequential(
        nn.Conv2d(dim, hidden, 1, bias=False),
        nn.BatchNorm2d(hidden),
        nn.GELU(),
        nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False),
        nn.BatchNorm2d(hidden),
        nn.GELU(),
        nn.Conv2d(hidden, dim, 1, bias=False),
        nn.BatchNorm2d(dim),
    )


BLOCKS: dict[str, Callable[[int], nn.Module]] = {
    'two dense 3x3 (chosen)': lambda c: ConvBlock(c, 0.0, BN),
    'depthwise 5x5, MLP x2': lambda c: depthwise(c, 5, 2, PointwiseLinear),
    'depthwise 5x5, MLP x4': lambda c: depthwise(c, 5, 4, PointwiseLinear),
    'the same, nn.Linear': lambda c: depthwise(c, 5, 4, nn.Linear),
    'depthwise 7x7, MLP x4': lambda c: depthwise(c, 7, 4, PointwiseLinear),
    'MBConv x2': lambda c: inverted(c, 2),
    'MBConv x4': lambda c: inverted(c, 4),
}


def main() -> None:
    """Print a row for each block and stage."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    # Stages 1 and 2 of iViT-S at 800 x 1344.
    for dim, size in ((64, (200, 336)), (128, (100, 168))):
        x = torch.randn(1, dim, *size).to(memory_format=torch.channels_last)
        blocks = {name: build(dim).eval() for name, build in BLOCKS.items()}
        times: dict[str, list[float]] = {name: [] for name in blocks}
        for _ in range(args.rounds + 2):
            for name, block in blocks.items():
                start = time.perf_counter()
                with torch.inference_mode():
                    block(x)
                times[name].append(1000 * (time.perf_counter() - start))
        print(f'{dim} channels at {size[0]} x {size[1]}:')
        for name, block in blocks.items():
            # Every matrix or kernel weight is used once a pixel.
            weights = [p.numel() for p in block.parameters() if p.dim() > 1]
            params = sum(weights)
            median = statistics.median(times[name][2:])
            macs = params * size[0] * size[1] / 1e9
            print(
                f'  {name:24} {median:6.1f} ms  {params / 1e3:6.0f}k weights '
                f'{macs:6.2f} GMAC  {1000 * macs / median:5.0f} GMAC/s'
            )


if __name__ == '__main__':
    main()
