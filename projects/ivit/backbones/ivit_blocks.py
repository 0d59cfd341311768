# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The two kinds of block that iViT is built of."""

from mmcv.cnn import ConvModule
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from ..attention import InteractiveAttention, PointwiseLinear, to_maps


def conv_bn(
    in_channels: int,
    out_channels: int,
    norm_cfg: dict,
    stride: int = 1,
    act: bool = True,
) -> ConvModule:
    """3 x 3 convolution, batch norm and, if ``act``, GELU."""
    return ConvModule(
        in_channels,
        out_channels,
        kernel_size=3,
        stride=stride,
        padding=1,
        norm_cfg=norm_cfg,
        act_cfg=dict(type='GELU') if act else None,
    )


class ConvBlock(nn.Module):
    """Residual block of two dense 3 x 3 convolutions.

    Args:
        dim: Channels C.
        drop_path: Probability of dropping the block for a sample.
        norm_cfg: Norm after each convolution.
    """

    def __init__(self, dim: int, drop_path: float, norm_cfg: dict) -> None:
        super().__init__()
        self.conv1 = conv_bn(dim, dim, norm_cfg)
        self.conv2 = conv_bn(dim, dim, norm_cfg, act=False)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        return x + self.drop_path(self.conv2(self.conv1(x)))


class AttentionBlock(nn.Module):
    """Position convolution, iMHSA and MLP, each with a residual.

    Args:
        dim: Channels C.
        num_heads: Number of heads.
        drop_path: Probability of dropping a branch for a sample.
        mlp_ratio: Hidden width of the MLP over C.
        landmarks: Landmark grid of the attention.
        decomposed: See :class:`~ivit.attention.InteractiveAttention`.
        interaction: See :class:`~ivit.attention.InteractiveAttention`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        drop_path: float,
        mlp_ratio: float,
        landmarks: tuple[int, int],
        decomposed: bool,
        interaction: str | None,
    ) -> None:
        super().__init__()
        self.pos = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = InteractiveAttention(
            dim,
            num_heads,
            landmarks=landmarks,
            decomposed=decomposed,
            interaction=interaction,
        )
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        hidden = int(dim * mlp_ratio)
        self.mlp = nn.Sequential(
            PointwiseLinear(dim, hidden),
            nn.GELU(),
            PointwiseLinear(hidden, dim),
        )
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        hw_shape = x.shape[2:]
        x = x + self.pos(x)
        # Channels last: tokens and map are two views of one memory.
        x = x.flatten(2).transpose(1, 2)
        x = x + self.drop_path(self.attn(self.norm1(x), hw_shape))
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return to_maps(x, hw_shape)
