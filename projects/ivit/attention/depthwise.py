# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Depthwise convolution of tokens that form a map."""

import torch.nn.functional as F
from torch import Tensor

from .tokens import to_maps


def depthwise_conv(
    x: Tensor, hw_shape: tuple[int, int], weight: Tensor, bias: Tensor
) -> Tensor:
    """Convolve tokens channel by channel, keeping the size of the map.

    Tokens are a map with channels last, so nothing is copied, and with a
    kernel for fewer channels than C, such as one head's, all heads go through
    one grouped convolution.

    Args:
        x: Tokens ``(B, N, C)``, row-major over the map.
        hw_shape: Height and width of the map, N = H W.
        weight: Kernels ``(D, 1, k, k)``, D a divisor of C, k odd, of any
            dtype.
        bias: ``(D,)``, of any dtype.

    Returns:
        ``(B, N, C)`` in the dtype of ``x``, or in autocast's.
    """
    weight, bias = weight.to(x.dtype), bias.to(x.dtype)
    heads = x.shape[-1] // weight.shape[0]
    if heads > 1:
        weight, bias = weight.repeat(heads, 1, 1, 1), bias.repeat(heads)
    out = F.conv2d(
        to_maps(x, hw_shape),
        weight,
        bias,
        padding=weight.shape[-1] // 2,
        groups=x.shape[-1],
    )
    return out.flatten(2).transpose(1, 2)
