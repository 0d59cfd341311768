# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Compute in float32 where 16 bits are not enough, under autocast too."""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` in float32, or as it is if it has float64."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def no_autocast(x: Tensor) -> AbstractContextManager:
    """Turn autocast off on the device of ``x``."""
    if x.device.type == 'meta':  # autocast does not know this device
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)


def linear_in_float32(layer: nn.Linear, x: Tensor) -> Tensor:
    """Apply a linear layer in float32 or better.

    Args:
        layer: The layer, with weights of any dtype.
        x: ``(..., in_features)`` of any dtype.

    Returns:
        ``(..., out_features)`` in float32, or float64 for a float64 ``x``.
    """
    x = at_least_float32(x)
    with no_autocast(x):
        if layer.weight.dtype == x.dtype:
            return layer(x)
        bias = None if layer.bias is None else layer.bias.to(x.dtype)
        return F.linear(x, layer.weight.to(x.dtype), bias)
