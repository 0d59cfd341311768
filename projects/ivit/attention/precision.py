# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Float32 where 16 bits do not do, whatever model and autocast are in."""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def widen(x: Tensor) -> Tensor:
    """``x`` in float32; float64 stays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def no_autocast(x: Tensor) -> AbstractContextManager:
    """Run operations on ``x`` in the precision of what goes into them."""
    if x.device.type == 'meta':  # which autocast does not know
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)


def wide_linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """Apply a linear layer in float32 or better.

    Args:
        layer: The layer, with weights of any dtype.
        x: ``(..., in_features)`` of any dtype.

    Returns:
        ``(..., out_features)`` in float32, or float64 for a float64 ``x``.
    """
    x = widen(x)
    with no_autocast(x):
        if layer.weight.dtype == x.dtype:
            return layer(x)
        bias = None if layer.bias is None else layer.bias.to(x.dtype)
        return F.linear(x, layer.weight.to(x.dtype), bias)
