# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Softmax attention with spatial reduction, as in PVT (arXiv 2102.12122)."""

from torch import Tensor, nn

from .layers import PointwiseLinear
from .softmax import softmax_attention
from .tokens import check_heads, merge_heads, split_heads, to_maps
from .window import pad_to_multiple


class SpatialReductionAttention(nn.Module):
    """Softmax attention to cells of r x r tokens (PVT, Eq. 1 to 4).

    A map that cells do not tile is padded with zeros at the bottom and the
    right; every cell holds at least one token of the map.

    Args:
        dim: Channels C of the tokens.
        num_heads: Number of heads; divides ``dim``.
        sr_ratio: Side r of a cell; 1 attends to all tokens.

    Raises:
        ValueError: If ``num_heads`` does not divide ``dim``.
    """

    def __init__(self, dim: int, num_heads: int, sr_ratio: int) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.q = PointwiseLinear(dim, dim)
        self.kv = PointwiseLinear(dim, 2 * dim)
        self.proj = PointwiseLinear(dim, dim)
        self.sr = None
        if sr_ratio > 1:
            self.sr = nn.Conv2d(dim, dim, sr_ratio, sr_ratio)
            self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """``(B, N, C)``, row-major over the map, to the same shape."""
        cells = x
        if self.sr is not None:
            maps = pad_to_multiple(to_maps(x, hw_shape), self.sr.stride[0])
            cells = self.norm(self.sr(maps).flatten(2).transpose(1, 2))
        query, key, value = (  # (B, h, N, d), and (B, h, N / r^2, d) twice
            split_heads(part, self.num_heads)
            for part in (self.q(x), *self.kv(cells).chunk(2, dim=-1))
        )
        out = softmax_attention(query, key, value)
        return self.proj(merge_heads(out))
