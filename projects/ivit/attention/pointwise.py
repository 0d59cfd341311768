# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The linear map over channels in attention and MLP."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PointwiseLinear(nn.Linear):
    """``nn.Linear`` for tokens, run as a 1 x 1 convolution on CPUs.

    PyTorch gives convolutions to oneDNN (with two threads or more, or a batch
    of 16) and linear layers to its BLAS. Where the first is faster, as on AMD
    processors, this gains; docs/ivit.md has the measurement. Parameters,
    results up to rounding and everything a caller sees are ``nn.Linear``'s.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, N, in_features)`` to ``(B, N, out_features)``."""
        # oneDNN has no float64, and one row needs no matrix product.
        if x.device.type != 'cpu' or x.dtype == torch.float64 or x.dim() != 3:
            return super().forward(x)
        # (B, C, 1, N), channels last by construction: a view both ways.
        columns = x.transpose(1, 2).unsqueeze(2)
        weight = self.weight[:, :, None, None]
        out = F.conv2d(columns, weight, self.bias)
        return out.squeeze(2).transpose(1, 2)
