# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Compare and cut sizes without tying a compiled graph to one size."""

import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true


def same_size(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two heights and widths are equal.

    A graph for images of any size holds sizes as unknowns. Comparing two of
    them the plain way would make a graph for images where they are equal and
    another one for the rest; a model that pads at every stage would need
    hundreds of graphs.

    Args:
        size: A height and a width.
        other: Another height and width.

    Returns:
        Whether they are equal. While a graph is made: whether they are equal
        for every image that the graph serves.
    """
    if not torch.compiler.is_compiling():
        return tuple(size) == tuple(other)
    return statically_known_true(size[0] == other[0]) and (
        statically_known_true(size[1] == other[1])
    )


def crop(maps: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    """The upper left of maps with channels last.

    Args:
        maps: ``(B, H', W', C)``.
        hw_shape: Height H and width W to keep, at most H' and W'.

    Returns:
        ``(B, H, W, C)``.
    """
    height, width = hw_shape
    if same_size((maps.shape[1], maps.shape[2]), hw_shape):
        return maps
    if not torch.compiler.is_compiling():
        return maps[:, :height, :width]
    # Slicing makes a graph ask whether the slice cuts anything off, and the
    # answer differs from size to size. Selecting rows by index does not.
    for dim, size in enumerate(hw_shape, 1):
        maps = maps.index_select(dim, torch.arange(size, device=maps.device))
    return maps


def adaptive_mean(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """``F.adaptive_avg_pool2d`` as products with two matrices.

    Exporters translate the pool for one size alone. Here sizes are numbers in
    the graph, so it serves maps of any size.

    Args:
        maps: ``(B, C, H, W)``.
        grid: Rows and columns of the result.

    Returns:
        ``(B, C, *grid)``.
    """
    rows, columns = (
        _mean_matrix(size, cells, maps)
        for size, cells in zip(maps.shape[2:], grid, strict=True)
    )
    return rows @ maps @ columns.transpose(0, 1)


def _mean_matrix(size: int, cells: int, like: Tensor) -> Tensor:
    """``(cells, size)``: the weights of the mean that each cell is."""
    cell = torch.arange(cells, device=like.device)[:, None]
    place = torch.arange(size, device=like.device)
    # Nothing is negative, and dividing towards zero is one operation in ONNX.
    start = torch.div(cell * size, cells, rounding_mode='trunc')
    end = ((cell + 1) * size + cells - 1).div(cells, rounding_mode='trunc')
    inside = ((place >= start) & (place < end)).to(like.dtype)
    return inside / (end - start).to(like.dtype)
