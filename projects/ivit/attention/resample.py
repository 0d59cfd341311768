# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Resample maps by two small matrix products, one for each side.

Graphs for images of any size pool in this way, and ONNX files interpolate so.
PyTorch's pooling asks for the size, and runtimes are slow to resize maps of
many channels; all have fast matrix products for every size.
"""

import torch
from torch import Tensor

from .precision import no_autocast

# PyTorch's free parameter of cubic interpolation.
CUBIC = -0.75


def resample(maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Weighted sums of the rows of maps, and then of their columns.

    Args:
        maps: ``(B, H, W, C)``.
        rows: Weights ``(H', H)``.
        columns: Weights ``(W', W)``.

    Returns:
        ``(B, H', W', C)`` in the dtype of ``maps``.
    """
    width, channels = maps.shape[2:]
    with no_autocast(maps):  # as pooling and interpolation compute
        flat = rows.to(maps.dtype) @ maps.flatten(2)  # (B, H', W C)
        return columns.to(maps.dtype) @ flat.unflatten(2, (width, channels))


def pooling_weights(
    size: int, bins: int, device: torch.device | None = None
) -> Tensor:
    """The means of adaptive average pooling as a matrix, ``(bins, size)``.

    Bin i is from ``floor(i size / bins)`` to ``ceil((i + 1) size / bins)``.

    Args:
        size: Cells to pool.
        bins: Means to make of them.
        device: Where the result lies.
    """
    bin_ = torch.arange(bins, device=device)[:, None]
    cell = torch.arange(size, device=device)
    # The two bounds without a division, which graphs round in their own ways.
    inside = (bin_ * size < (cell + 1) * bins) & (
        cell * bins < (bin_ + 1) * size
    )
    weights = inside.float()
    return weights / weights.sum(1, keepdim=True)


def cubic_weights(
    size: int, new_size: int, device: torch.device | None = None
) -> Tensor:
    """Bicubic interpolation of a side as a matrix, ``(new_size, size)``.

    As ``F.interpolate`` computes it, without anti-aliasing and with corners
    that are not aligned.

    Args:
        size: Cells of the side.
        new_size: Cells wanted.
        device: Where the result lies.
    """
    # A tensor, as programs with fractions of sizes cannot be saved.
    scale = torch.ones((), device=device) * size / new_size
    centre = torch.arange(new_size, device=device)[:, None] + 0.5
    centre = centre * scale - 0.5
    # Four cells have a part in a result; two of them may lie outside.
    cell = torch.arange(-2, size + 2, device=device)
    far = (centre - cell).abs()
    near = ((CUBIC + 2) * far - (CUBIC + 3)) * far * far + 1
    side = CUBIC * (((far - 5) * far + 8) * far - 4)
    zero = torch.zeros_like(far)
    weights = torch.where(far <= 1, near, torch.where(far < 2, side, zero))
    # Those outside have the numbers of the border.
    border = (
        torch.arange(size, device=device) == (cell.clamp(0, size - 1)[:, None])
    )
    return weights @ border.float()
