# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Work on CPUs in chunks that stay in the caches.

Memory bounds what attention does beside its matrix products. Chunk by chunk,
intermediate results stay in the caches, and no tensor of the size of a map or
of an attention matrix is written.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

# Elements of a chunk: 512 KiB in float32. An L2 cache holds some of them.
CHUNK_ELEMENTS = 1 << 17


def chunks(
    batch: int, rows: int, width: int, min_rows: int = 1
) -> Iterator[tuple[slice, slice]]:
    """Cut ``(batch, rows, width)`` into chunks of about ``CHUNK_ELEMENTS``.

    Args:
        batch: Number of images.
        rows: Rows of an image.
        width: Elements of a row.
        min_rows: Rows that a chunk has at least, however wide they are.

    Yields:
        The images and the rows of one chunk.
    """
    num_rows = max(min_rows, CHUNK_ELEMENTS // width)
    num_images = max(1, num_rows // rows)
    for b in range(0, batch, num_images):
        for n in range(0, rows, num_rows):
            yield slice(b, b + num_images), slice(n, n + num_rows)


def runs_in_chunks(x: Tensor) -> bool:
    """Whether operations on ``x`` run faster chunk by chunk.

    They do on CPUs. While a graph is made they stay whole, since compilers
    and exporters fuse them better by themselves.
    """
    return (
        x.device.type == 'cpu'
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
    )
