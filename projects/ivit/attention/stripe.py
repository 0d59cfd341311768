# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Softmax attention in stripes, as in CSwin (arXiv 2107.00652)."""

from torch import Tensor, nn

from .layers import depthwise_conv
from .window import attend_in_windows, from_windows, to_windows


class StripeAttention(nn.Module):
    """Softmax attention in stripes, with LePE inside each of them.

    Args:
        dim: Channels of the branch.
        num_heads: Number of heads; divides ``dim``.
        stripe: Height and width of a stripe; None is the side of the map.
    """

    def __init__(
        self, dim: int, num_heads: int, stripe: tuple[int | None, int | None]
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.stripe = stripe
        # LePE: the depthwise convolution of V that tells positions.
        self.get_v = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        hw_shape: tuple[int, int],
    ) -> Tensor:
        """Attend over a map.

        Args:
            query: Q, ``(B, N, C)``, row-major over the map.
            key: K, the same shape.
            value: V, the same shape.
            hw_shape: Height and width of the map, N = H W.

        Returns:
            ``(B, N, C)``.
        """
        height, width = (
            side or n for side, n in zip(self.stripe, hw_shape, strict=True)
        )
        window = (height, width)
        batch = query.shape[0]
        query, key, value = (  # (B nW, T, C)
            to_windows(x, hw_shape, window) for x in (query, key, value)
        )
        out = attend_in_windows(
            query, key, value, batch, self.num_heads, hw_shape, window
        )
        out = out + depthwise_conv(value, window, self.get_v)
        return from_windows(out, hw_shape, window)
