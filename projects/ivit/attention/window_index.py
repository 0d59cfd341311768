# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Where the tokens of windows lie, as indices that a graph computes.

In a graph for maps of any size, padding, rolling and cropping each ask what
the sizes are. One selection by index does all three, and copies once. The
arithmetic is on vectors alone, since broadcasting asks which sides are 1.
"""

import torch
from torch import Tensor

from .symbolic import divide, padded_size, windows_of_side


def token_of_place(
    hw_shape: tuple[int, int],
    window: tuple[int, int],
    shift: tuple[int, int],
    device: torch.device | None,
) -> tuple[Tensor, Tensor]:
    """The token in every place of every window, and its region.

    Args:
        hw_shape: Height and width of the map.
        window: Height and width of a window.
        shift: Rows and columns by which the map is rolled up and left.
        device: Where the results lie.

    Returns:
        Numbers of tokens and numbers of regions, ``(nW T,)`` each. Padding
        has the number of some token, and the region -1.
    """
    down, across = map(windows_of_side, hw_shape, window)
    tokens = window[0] * window[1]
    place = torch.arange(down * across * tokens, device=device)
    number, inside = divide(place, tokens)
    windows = divide(number, across)
    offsets = divide(inside, window[1])
    cells, bands = [], []
    for i, n in enumerate(hw_shape):
        padded = padded_size(n, window[i])
        cell = windows[i] * window[i] + offsets[i] + shift[i]
        # A remainder by a size is none of ONNX's operations on tensors.
        cell = torch.where(cell >= padded, cell - padded, cell)
        # What was rolled round the border is a band of its own.
        bands.append(torch.where(cell < n, (cell < shift[i]).long(), -1))
        cells.append(cell.clamp(max=n - 1))
    padding = (bands[0] < 0) | (bands[1] < 0)
    region = (2 * bands[0] + bands[1]).masked_fill(padding, -1)
    return cells[0] * hw_shape[1] + cells[1], region


def place_of_token(
    hw_shape: tuple[int, int],
    window: tuple[int, int],
    shift: tuple[int, int],
    device: torch.device | None,
) -> Tensor:
    """The place of every token among those of all windows, ``(N,)``.

    Arguments are those of :func:`token_of_place`.
    """
    token = torch.arange(hw_shape[0] * hw_shape[1], device=device)
    windows, offsets = [], []
    for i, cell in enumerate(divide(token, hw_shape[1])):
        cell = cell - shift[i]
        padded = padded_size(hw_shape[i], window[i])
        cell = torch.where(cell < 0, cell + padded, cell)
        number, offset = divide(cell, window[i])
        windows.append(number)
        offsets.append(offset)
    number = windows[0] * windows_of_side(hw_shape[1], window[1]) + windows[1]
    inside = offsets[0] * window[1] + offsets[1]
    return number * (window[0] * window[1]) + inside
