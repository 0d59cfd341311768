# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Layers of more than one family, under the names of the checkpoints."""

from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from ..attention import PointwiseLinear, depthwise_conv
from ..attention.window import pad_to_multiple


class PatchEmbed(nn.Module):
    """A convolution to the tokens of a coarser map, and a norm.

    Args:
        in_channels: Channels of the map.
        dim: Channels of the tokens.
        kernel_size: Side of the kernel; larger than ``stride`` overlaps.
        stride: By how much the map shrinks; its size is rounded up.
    """

    def __init__(
        self, in_channels: int, dim: int, kernel_size: int, stride: int
    ) -> None:
        super().__init__()
        self.proj = nn.Conv2d(
            in_channels,
            dim,
            kernel_size,
            stride,
            padding=kernel_size // 2 if kernel_size > stride else 0,
        )
        self.norm: nn.Module = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """``(B, in_channels, H, W)`` to ``(B, N, dim)`` and its map's size."""
        if self.proj.kernel_size == self.proj.stride:
            x = pad_to_multiple(x, self.proj.stride[0])
        x = self.proj(x)
        hw_shape = (x.shape[2], x.shape[3])
        return self.norm(x.flatten(2).transpose(1, 2)), hw_shape


class Mlp(nn.Module):
    """Two linear layers, optionally with a depthwise convolution between.

    Args:
        dim: Channels of the tokens.
        hidden: Channels between the layers.
        conv: Whether a 3 x 3 depthwise convolution stands before the GELU,
            as in PVTv2.

    Raises:
        ValueError: If ``hidden`` is below 1.
    """

    def __init__(self, dim: int, hidden: int, conv: bool = False) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(
                f'The MLP of {dim} channels would have {hidden} hidden ones; '
                f'mlp_ratio must be at least 1 / {dim}, and is 4 in the '
                'published models.'
            )
        self.fc1 = PointwiseLinear(dim, hidden)
        self.dwconv = DWConv(hidden) if conv else None
        self.act = nn.GELU()
        self.fc2 = PointwiseLinear(hidden, dim)

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """``(B, N, C)``, row-major over the map, to the same shape."""
        x = self.fc1(x)
        if self.dwconv is not None:
            x = self.dwconv(x, hw_shape)
        return self.fc2(self.act(x))


class DWConv(nn.Module):
    """The depthwise convolution of :class:`Mlp`, under its published name."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """``(B, N, C)``, row-major over the map, to the same shape."""
        return depthwise_conv(x, hw_shape, self.dwconv)


class Block(nn.Module):
    """Attention and MLP, each with a norm before and a residual.

    Args:
        dim: Channels C of the tokens.
        attn: The attention, a module of tokens and the size of their map.
        mlp_ratio: Hidden width of the MLP over C.
        drop_path: Probability of dropping a branch for a sample.
        eps: Of the norms.
        conv_mlp: Whether the MLP has a depthwise convolution, as in PVTv2.
    """

    def __init__(
        self,
        dim: int,
        attn: nn.Module,
        mlp_ratio: float,
        drop_path: float,
        eps: float = 1e-5,
        conv_mlp: bool = False,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = attn
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), conv_mlp)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """``(B, N, C)``, row-major over the map, to the same shape."""
        x = x + self.drop_path(self.attn(self.norm1(x), hw_shape))
        return x + self.drop_path(self.mlp(self.norm2(x), hw_shape))
