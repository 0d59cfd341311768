# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Decisions on sizes that a compiled graph leaves open."""

import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true


def same_size(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two heights and widths are equal.

    A graph for images of any size has numbers for few of them. Asking whether
    one is another would tie the graph to the answer, and a model that pads
    at every stage would need hundreds of graphs.

    Args:
        size: A height and a width.
        other: Another.

    Returns:
        While a graph is made, whether they are equal for every image that it
        serves; otherwise whether they are equal.
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
    if same_size(maps.shape[1:3], hw_shape):
        return maps
    if not torch.compiler.is_compiling():
        return maps[:, :height, :width]
    # A slice makes a graph ask whether anything was cut off; the answers
    # differ from size to size. Rows that are looked up are always copied.
    for dim, size in enumerate(hw_shape, 1):
        maps = maps.index_select(dim, torch.arange(size, device=maps.device))
    return maps
