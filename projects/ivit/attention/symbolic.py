# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Arithmetic of sizes that does not tie a graph to one size."""

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


def padded_size(size: int, window: int) -> int:
    """The smallest multiple of ``window`` from ``size`` on."""
    return windows_of_side(size, window) * window


def windows_of_side(size: int, window: int) -> int:
    """How many windows cover a side, ``ceil(size / window)``."""
    # sympy, which holds the sizes of a graph, does not see that this is 1.
    if torch.compiler.is_compiling() and statically_known_true(size == window):
        return 1
    # Nor does it simplify -(-size // window).
    return (size + window - 1) // window


def value_if_larger(value: int, size: int, limit: int) -> int:
    """``value`` if ``size`` is larger than ``limit``, and otherwise 0."""
    if not torch.compiler.is_compiling():
        return value if size > limit else 0
    # Asking which is larger would make a graph for each answer.
    return value * larger(0, smaller(1, size - limit))


def smaller(size: int | torch.SymInt, other: int | torch.SymInt) -> int:
    """The smaller of two sizes, which may be unknowns of a graph."""
    # Dynamo shows its unknowns as integers, and follows min.
    if isinstance(size, torch.SymInt) or isinstance(other, torch.SymInt):
        return torch.sym_min(size, other)
    return min(size, other)


def larger(size: int | torch.SymInt, other: int | torch.SymInt) -> int:
    """The larger of two sizes, which may be unknowns of a graph."""
    if isinstance(size, torch.SymInt) or isinstance(other, torch.SymInt):
        return torch.sym_max(size, other)
    return max(size, other)


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


def divide(index: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Quotient and remainder of integers from 0 on.

    A remainder by a size that is left free has no translation to ONNX.

    Args:
        index: Integers of any shape.
        size: What they are divided by.
    """
    quotient = index.div(size, rounding_mode='trunc')
    return quotient, index - quotient * size
