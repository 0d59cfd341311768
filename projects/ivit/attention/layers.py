# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Layers that take tokens: a linear layer and a depthwise convolution."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.onnx import is_in_onnx_export

from .tokens import to_maps


class PointwiseLinear(nn.Linear):
    """``nn.Linear`` for tokens, run as a 1 x 1 convolution on CPUs.

    PyTorch gives convolutions to oneDNN (with two threads or more, or a batch
    of 16) and linear layers to its BLAS. Where oneDNN is faster, as on AMD
    processors, this layer is; docs/ivit.md has the measurement. Parameters
    are those of ``nn.Linear``, and results are equal up to rounding.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, N, in_features)`` to ``(B, N, out_features)``."""
        # oneDNN has no float64, and one row needs no matrix product. Other
        # runtimes would transpose the tokens for a convolution.
        if (
            is_in_onnx_export()
            or x.device.type != 'cpu'
            or x.dtype == torch.float64
            or x.dim() != 3
        ):
            return super().forward(x)
        # Channels last already, so both reshapes are views.
        columns = x.transpose(1, 2).unsqueeze(2)  # (B, C, 1, N)
        weight = self.weight[:, :, None, None]
        out = F.conv2d(columns, weight, self.bias)
        return out.squeeze(2).transpose(1, 2)  # (B, N, C')


def depthwise_conv(
    x: Tensor, hw_shape: tuple[int, int], conv: nn.Conv2d
) -> Tensor:
    """Convolve tokens channel by channel, keeping the size of the map.

    Tokens are a map with channels last, so nothing is copied. A kernel for
    fewer channels than C, such as those of one head, is repeated: all heads
    go through one grouped convolution.

    Args:
        x: Tokens ``(B, N, C)``, row-major over the map.
        hw_shape: Height and width of the map, N = H W.
        conv: A depthwise convolution of D channels, a divisor of C, with an
            odd kernel. Its weights may have any dtype.

    Returns:
        ``(B, N, C)`` in the dtype of ``x``, or in autocast's.
    """
    weight = conv.weight.to(x.dtype)
    bias = None if conv.bias is None else conv.bias.to(x.dtype)
    heads = x.shape[-1] // weight.shape[0]
    if heads > 1:
        weight = weight.repeat(heads, 1, 1, 1)
        bias = None if bias is None else bias.repeat(heads)
    out = F.conv2d(
        to_maps(x, hw_shape),  # (B, C, H, W)
        weight,
        bias,
        padding=weight.shape[-1] // 2,
        groups=x.shape[-1],
    )
    return out.flatten(2).transpose(1, 2)  # (B, N, C)
