# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The formulas of focused linear attention in PyTorch's operations.

Symbols are those of ``focused.py``.
"""

import torch.nn.functional as F
from torch import Tensor

from .precision import widen
from .tokens import merge_heads, split_heads

EPS = 1e-6


def focused_map(x: Tensor, scale: Tensor, focusing_factor: float) -> Tensor:
    """The feature map ``phi_p(x) = f_p(ReLU(x))`` (paper, Eq. 5 and 6).

    ``f_p(t) = ||t|| t^p / ||t^p||`` with norms over all C channels (models:
    not each head alone), on ``t = (ReLU(x) + 1e-6) / scale``. The power is
    taken of ``t / max(t)``, which changes nothing but the range: t^p alone
    leaves float16 at t = 40 for p = 3, and float32 below at t = 1e-6 for
    p = 4, where every channel of a token is negative.

    Args:
        x: Tokens ``(B, N, C)``.
        scale: Positive scale of the channels, ``(1, 1, C)``.
        focusing_factor: p, at least 1.

    Returns:
        ``(B, N, C)`` in float32, or float64 for a float64 ``x``.
    """
    t = (F.relu(widen(x)) + EPS) / widen(scale)
    # f_p does not depend on the largest: no gradient goes through it.
    largest = t.detach().amax(-1, keepdim=True)
    t = t / largest
    powers = t**focusing_factor
    return powers * (
        largest
        * t.norm(dim=-1, keepdim=True)
        / powers.norm(dim=-1, keepdim=True)
    )


def attend_eagerly(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: Tensor,
    num_heads: int,
    focusing_factor: float = 3,
    valid: Tensor | None = None,
    position: Tensor | None = None,
) -> Tensor:
    """The formula; :func:`.focused.focused_linear_attention` has the rest."""
    if position is not None:
        key = key + widen(position)
    count = key.shape[1]
    if valid is not None:
        count = valid.sum(1)[:, None, None, None]
        absent = ~valid[..., None]
        # Here and below: what is left out may be anything, inf too.
        key, value = (x.masked_fill(absent, 0) for x in (key, value))
    q = focused_map(query, scale, focusing_factor)
    k = focused_map(key, scale, focusing_factor)
    if valid is not None:
        k = k.masked_fill(absent, 0)
    q, k, v = (split_heads(x, num_heads) for x in (q, k, value.to(k.dtype)))
    summary = k.transpose(-2, -1) @ v / count
    mean_k = k.sum(-2, keepdim=True) / count
    norm = (q * mean_k).sum(-1, keepdim=True) + EPS
    out = (q @ summary) / norm
    return merge_heads(out).to(value.dtype)
