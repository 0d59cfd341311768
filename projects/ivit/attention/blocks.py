# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Work on CPUs in blocks that stay in the caches.

What attention does beside its products is limited by memory: a block at a
time, intermediate results never leave the caches, and nothing of the size of
a map or of a matrix of weights is written.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

# Elements of a block: 512 KiB, some of which fit in an L2 cache.
BLOCK = 1 << 17


def blocks(
    batch: int, rows: int, width: int, least: int = 1
) -> Iterator[tuple[slice, slice]]:
    """Slices of images and of rows with about ``BLOCK`` elements each.

    Args:
        batch: Number of images.
        rows: Rows of an image.
        width: Elements of a row.
        least: Rows that a block has in any case.
    """
    count = max(least, BLOCK // width)
    images = max(1, count // rows)
    for b in range(0, batch, images):
        for n in range(0, rows, count):
            yield slice(b, b + images), slice(n, n + count)


def go_in_blocks(x: Tensor) -> bool:
    """Whether to; compilers and exporters fuse plain operations better."""
    return (
        x.device.type == 'cpu'
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
    )
