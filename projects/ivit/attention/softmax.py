# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Softmax attention of heads, in the form that runs fastest."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.onnx import is_in_onnx_export


def softmax_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """``softmax(Q K^T / sqrt(d) + mask) V``.

    Args:
        query: Q, ``(..., M, d)``.
        key: K, ``(..., N, d)``.
        value: V, ``(..., N, d)``.
        mask: Added to the logits, or which of them count if it is bool.

    Returns:
        ``(..., M, d)``.
    """
    # With a mask that needs a gradient, PyTorch has no fused kernel on CPUs
    # and takes 1.2 times as long as the formula (Swin's windows, forward and
    # backward). ONNX has the formula alone, and PyTorch's translation of the
    # kernel scales both Q and K.
    if is_in_onnx_export() or (
        mask is not None
        and mask.requires_grad
        and query.device.type == 'cpu'
        and query.dtype == torch.float32
    ):
        logits = query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1)
        return _add(logits, mask).softmax(-1) @ value
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def _add(logits: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return logits
    if mask.dtype == torch.bool:
        return logits.masked_fill(~mask, float('-inf'))
    return logits + mask
