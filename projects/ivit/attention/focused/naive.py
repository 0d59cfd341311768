# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Focused linear attention as its formula, in PyTorch's operations."""

import torch.nn.functional as F
from torch import Tensor

from ..precision import at_least_float32
from ..tokens import merge_heads, split_heads

EPS = 1e-6


def focused_map(x: Tensor, scale: Tensor, focusing_factor: float) -> Tensor:
    """The feature map ``phi_p(x) = f_p(ReLU(x))`` (paper, Eq. 5 and 6).

    ``f_p(t) = ||t|| t^p / ||t^p||`` on ``t = (ReLU(x) + 1e-6) / scale``, with
    norms over all C channels (models: not over each head alone). The power is
    taken of ``t / max(t)``, which leaves f_p as it is and keeps the power in
    range: for p = 3, t^p overflows float16 at t = 40; for p = 4 it underflows
    float32 at t = 1e-6, which a token has whose channels are all negative.

    Args:
        x: Tokens ``(B, N, C)``.
        scale: Positive scale of the channels, ``(1, 1, C)``.
        focusing_factor: p, at least 1.

    Returns:
        ``(B, N, C)`` in float32, or float64 for a float64 ``x``.
    """
    t = (F.relu(at_least_float32(x)) + EPS) / at_least_float32(scale)
    # f_p does not depend on the largest, so no gradient goes through it.
    largest = t.detach().amax(-1, keepdim=True)
    t = t / largest
    powers = t**focusing_factor
    return powers * (
        largest
        * t.norm(dim=-1, keepdim=True)
        / powers.norm(dim=-1, keepdim=True)
    )


def supports(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    num_heads: int,
    valid: Tensor | None,
) -> bool:
    """Every tensor is supported."""
    return True


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: Tensor,
    num_heads: int,
    focusing_factor: float,
    position: Tensor | None,
    valid: Tensor | None,
) -> Tensor:
    """See :func:`ivit.attention.focused_linear_attention`."""
    if position is not None:
        key = key + at_least_float32(position)
    count: int | Tensor = key.shape[1]
    if valid is not None:
        count = valid.sum(1)[:, None, None, None]
        absent = ~valid[..., None]
        # Here and below: the keys left out may be anything, even inf.
        key, value = (x.masked_fill(absent, 0) for x in (key, value))
    q = focused_map(query, scale, focusing_factor)
    k = focused_map(key, scale, focusing_factor)
    if valid is not None:
        k = k.masked_fill(absent, 0)
    # (B, h, M, d) and (B, h, N, d)
    q, k, v = (split_heads(x, num_heads) for x in (q, k, value.to(k.dtype)))
    kv = k.transpose(-2, -1) @ v / count  # (B, h, d, d)
    mean_k = k.sum(-2, keepdim=True) / count  # (B, h, 1, d)
    norm = (q * mean_k).sum(-1, keepdim=True) + EPS  # (B, h, M, 1)
    out = (q @ kv) / norm
    return merge_heads(out).to(value.dtype)  # (B, M, C)
