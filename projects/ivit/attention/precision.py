# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Float32 where 16 bits do not do, whatever model and autocast are in."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST_ERROR = 0.01


def widen(x: Tensor) -> Tensor:
    """``x`` in float32; float64 stays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def no_autocast(x: Tensor) -> AbstractContextManager:
    """Run operations on ``x`` in the precision of what goes into them."""
    device = x.device.type
    if not torch.amp.is_autocast_available(device):  # such as meta
        return nullcontext()
    return torch.autocast(device, enabled=False)


def linear_as(layer: nn.Linear, x: Tensor) -> Tensor:
    """Apply a linear layer, its weights in the dtype of ``x``."""
    if layer.weight.dtype == x.dtype:
        return layer(x)
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    return F.linear(x, layer.weight.to(x.dtype), bias)


def run_precisely(
    function: Callable[[Tensor], Tensor], x: Tensor, power: float
) -> Tensor:
    """Call a function that raises what it computes to a power.

    The power multiplies relative errors. Where the precision at hand, of
    autocast or of ``x``, would make that more than 1 %, as bfloat16 does for
    a power of 2 and float16 for one of 11, all runs in float32.

    Args:
        function: Maps a tensor to a tensor; its linear layers go through
            :func:`linear_as`.
        x: What it is called with.
        power: The power.

    Returns:
        What the function returns; in the dtype of ``x`` if that or autocast
        was too coarse.
    """
    device, dtype = x.device.type, x.dtype
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(
        device
    ):
        dtype = torch.get_autocast_dtype(device)
    if torch.finfo(dtype).eps * power <= LARGEST_ERROR:
        return function(x)
    with no_autocast(x):
        return function(widen(x)).to(x.dtype)
