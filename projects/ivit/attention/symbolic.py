# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Decisions on sizes that a compiled graph leaves open."""

import torch
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
