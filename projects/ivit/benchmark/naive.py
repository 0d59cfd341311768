# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Focused linear attention as its formula is commonly written.

What ours is measured against: the equations of arXiv 2308.00442 and of its
published models one after the other, in eager PyTorch. Heads are an axis of
their own, so the depthwise convolution needs every head's values as a
contiguous map; there is no cast, and powers are taken as they are.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from ..attention import (
    FocusedLinearAttention,
    PointwiseLinear,
    resize_table,
)
from ..attention.tokens import merge_heads, split_heads

EPS = 1e-6


def naive_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: Tensor,
    num_heads: int,
    focusing_factor: float = 3,
) -> Tensor:
    """The counterpart of :func:`~ivit.attention.focused_linear_attention`.

    Args:
        query: Q, ``(B, N, C)``.
        key: K, ``(B, N, C)``, its position added.
        value: V, ``(B, N, C)``.
        scale: Positive scale of the channels, ``(1, 1, C)``.
        num_heads: Number of heads; divides C.
        focusing_factor: p.

    Returns:
        ``(B, N, C)``.
    """

    def focus(x: Tensor) -> Tensor:
        x = (F.relu(x) + EPS) / scale
        length = x.norm(dim=-1, keepdim=True)
        x = x**focusing_factor
        return x / x.norm(dim=-1, keepdim=True) * length

    query, key, value = (
        split_heads(x, num_heads) for x in (focus(query), focus(key), value)
    )
    tokens = key.shape[2]
    z = 1 / (query @ key.mean(2, keepdim=True).transpose(2, 3) + EPS)
    summary = (key.transpose(2, 3) * tokens**-0.5) @ (value * tokens**-0.5)
    return merge_heads(query @ summary * z)


class NaiveAttention(nn.Module):
    """A focused attention with its parameters, run the common way.

    Args:
        attn: The attention whose parameters are used, not a copy of them.

    Raises:
        ValueError: If it attends in tiles.
    """

    # Named as in the attention: either qkv, or q and kv.
    qkv: nn.Linear
    q: nn.Linear
    kv: nn.Linear
    proj: nn.Linear
    dwc: nn.Conv2d | None

    def __init__(self, attn: FocusedLinearAttention) -> None:
        super().__init__()
        if attn.tile_size is not None:
            raise ValueError(
                f'tile_size={attn.tile_size}: the naive '
                'version attends over whole maps; set tile_size=None.'
            )
        for name, module in attn.named_children():
            self.add_module(name, module)
        self.dwc = attn.dwc  # may be None, which is no child
        self.scale = attn.scale
        self.positional_encoding = attn.positional_encoding
        self.grid_size = attn.grid_size
        self.num_heads = attn.num_heads
        self.focusing_factor = attn.focusing_factor

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """``(B, N, C)``, row-major over the map, to the same shape."""
        # Not the layers' own forward, which is faster on CPUs.
        query, key, value = (
            part
            for layer in self._projections()
            for part in F.linear(x, layer.weight, layer.bias).split(
                x.shape[2], dim=2
            )
        )
        position = resize_table(
            self.positional_encoding, self.grid_size, hw_shape
        )
        out = naive_attention(
            query,
            key + position,
            value,
            F.softplus(self.scale),
            self.num_heads,
            self.focusing_factor,
        )
        if self.dwc is not None:
            maps = split_heads(value, self.num_heads).transpose(2, 3)
            maps = maps.flatten(0, 1).unflatten(2, hw_shape).contiguous()
            restored = self.dwc(maps).flatten(2).unflatten(0, (len(x), -1))
            out = out + restored.flatten(1, 2).transpose(1, 2)
        return F.linear(out, self.proj.weight, self.proj.bias)

    def _projections(self) -> list[nn.Linear]:
        """The layers that make Q, K and V, in this order."""
        return [self.qkv] if hasattr(self, 'qkv') else [self.q, self.kv]


def make_naive(model: nn.Module) -> None:
    """Run the focused attentions and the linear layers of a model so.

    Args:
        model: A model of ours; its attentions are replaced, its linear layers
            become PyTorch's, its parameters and everything else stay.

    Raises:
        ValueError: If it has no attention that can be replaced.
    """
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, FocusedLinearAttention)
    ]
    if not found:
        raise ValueError(
            f'{type(model).__name__} has no focused attention with '
            'projections of its own, so no naive version; '
            'FLattenSwin, FLattenPVT, FLattenPVTv2 and FLattenDeiT have.'
        )
    for parent, name, child in found:
        setattr(parent, name, NaiveAttention(child))
    for module in model.modules():
        if isinstance(module, PointwiseLinear):
            # mypy takes the class of an object to be fixed.
            module.__class__ = nn.Linear  # type: ignore[assignment]
