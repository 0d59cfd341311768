# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The parts of FLatten-CSwin, under the names of the authors' checkpoints.

CSwin is arXiv 2107.00652, FLatten arXiv 2308.00442.
"""

import torch
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from ..attention import (
    FocusedAttention,
    PointwiseLinear,
    depthwise_conv,
    merge_windows,
    split_windows,
    to_maps,
    window_attention,
)
from ..attention.precision import no_autocast, wide_linear
from .flatten_layers import Mlp, pad_to_multiple

QKV = tuple[Tensor, Tensor, Tensor]


def position_conv(dim: int) -> nn.Conv2d:
    """LePE: the depthwise convolution of V that tells positions (CSwin)."""
    return nn.Conv2d(dim, dim, 3, padding=1, groups=dim)


class FocusedBranch(FocusedAttention):
    """Focused linear attention with LePE, the only branch of a block.

    The arguments are those of :class:`FocusedAttention`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        grid_size: tuple[int, int],
        focusing_factor: float = 3,
        kernel_size: int = 5,
        window_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(
            dim,
            num_heads,
            grid_size,
            focusing_factor,
            kernel_size,
            window_size,
        )
        self.get_v = position_conv(dim)

    def _attend(
        self, qkv: QKV, hw_shape: tuple[int, int], valid: Tensor | None = None
    ) -> Tensor:
        out = super()._attend(qkv, hw_shape, valid)
        return out + depthwise_conv(
            qkv[2], hw_shape, self.get_v.weight, self.get_v.bias
        )

    def forward(self, qkv: QKV, hw_shape: tuple[int, int]) -> Tensor:
        """See :meth:`FocusedAttention.attend`."""
        return self.attend(qkv, hw_shape)


class StripeBranch(nn.Module):
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
        self.get_v = position_conv(dim)

    def forward(self, qkv: QKV, hw_shape: tuple[int, int]) -> Tensor:
        """Q, K and V ``(B, N, C)``, row-major over the map, to the same."""
        window = tuple(
            side or n for side, n in zip(self.stripe, hw_shape, strict=True)
        )
        query, key, value = (split_windows(x, hw_shape, window) for x in qkv)
        out = window_attention(
            query, key, value, self.num_heads, hw_shape, window
        )
        position = depthwise_conv(
            value.flatten(0, 1), window, self.get_v.weight, self.get_v.bias
        )
        out = out + position.view_as(out)
        return merge_windows(out, hw_shape, window)


class CSwinBlock(nn.Module):
    """Attention in one or two branches and MLP, norms before, residuals.

    Args:
        dim: Channels C of the tokens.
        branches: Modules of Q, K and V, each ``(B, N, C / len(branches))``,
            and the size of their map.
        mlp_ratio: Hidden width of the MLP over C.
        drop_path: Probability of dropping a residual branch for a sample.
    """

    def __init__(
        self,
        dim: int,
        branches: list[nn.Module],
        mlp_ratio: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.qkv = PointwiseLinear(dim, 3 * dim)
        self.attns = nn.ModuleList(branches)
        self.focused = isinstance(branches[0], FocusedBranch)
        self.proj = PointwiseLinear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def _attend(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        if self.focused:
            # One branch, in float32 as focused attention is everywhere.
            with no_autocast(x):
                qkv = wide_linear(self.qkv, x).chunk(3, dim=-1)
                out = self.attns[0](qkv, hw_shape)
                return wide_linear(self.proj, out).to(x.dtype)
        shares = (
            part.chunk(len(self.attns), dim=-1)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        outs = [
            attn(qkv, hw_shape)
            for attn, qkv in zip(
                self.attns, zip(*shares, strict=True), strict=True
            )
        ]
        return self.proj(torch.cat(outs, dim=-1))

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """``(B, N, C)``, row-major over the map, to the same shape."""
        x = x + self.drop_path(self._attend(self.norm1(x), hw_shape))
        return x + self.drop_path(self.mlp(self.norm2(x), hw_shape))


class ConvEmbed(nn.ModuleDict):
    """The stem: overlapping patches of an image padded to whole strides.

    Its parts have their published names, the places in a sequence.

    Args:
        in_channels: Channels of the image.
        dim: Channels of the tokens.
    """

    def __init__(self, in_channels: int, dim: int) -> None:
        conv = nn.Conv2d(in_channels, dim, 7, stride=4, padding=2)
        super().__init__({'0': conv, '2': nn.LayerNorm(dim)})

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """``(B, in_channels, H, W)`` to ``(B, N, dim)`` and its map's size."""
        maps = self['0'](pad_to_multiple(x, 4))
        return self['2'](maps.flatten(2).transpose(1, 2)), maps.shape[2:]


class Merge(nn.Module):
    """Overlapping convolution to half the map, and a norm.

    Args:
        dim: Channels of the tokens.
        out_dim: Channels of the merged tokens.
    """

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, out_dim, 3, stride=2, padding=1)
        self.norm = nn.LayerNorm(out_dim)

    def forward(
        self, x: Tensor, hw_shape: tuple[int, int]
    ) -> tuple[Tensor, tuple[int, int]]:
        """``(B, N, C)`` to ``(B, N / 4, out_dim)`` and the map's new size."""
        maps = self.conv(to_maps(x, hw_shape))
        return self.norm(maps.flatten(2).transpose(1, 2)), maps.shape[2:]
