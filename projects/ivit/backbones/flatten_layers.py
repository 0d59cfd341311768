# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What the FLatten families have in common.

The families differ in embedding, attention and order of norms, so each has a
file of its own; names of modules are those of the authors' checkpoints.
"""

import re

import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from ..attention import PointwiseLinear, depthwise_conv
from ..attention.symbolic import same_size
from ..attention.window import padded_shape

STRIDES = (4, 8, 16, 32)
FOCUSED, SOFTMAX = 'L', 'S'
INIT_CFG = (
    dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0),
    dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0),
)


def block_kinds(
    attn_type: str, depths: tuple[int, ...], mixed: bool
) -> list[str]:
    """The kind of every block, as the authors write it.

    Args:
        attn_type: A letter for each stage: ``L`` focused linear attention,
            ``S`` the softmax attention of the original family, ``M`` mixed,
            with the number of focused blocks that go first at the end:
            ``'LLSS'``, ``'LLMS3'``.
        depths: Number of blocks of each stage.
        mixed: Whether the family has mixed stages.

    Returns:
        A string of ``L`` and ``S`` for each stage, one letter a block.

    Raises:
        ValueError: If ``attn_type`` is not of that form.
    """
    letters = 'LSM' if mixed else 'LS'
    match = re.fullmatch(
        rf'([{letters}]{{4}})(\d*)',
        attn_type if isinstance(attn_type, str) else '',
    )
    if not match or ('M' in match[1]) != bool(match[2]):
        example = (
            "; a stage 'M' is mixed, with the number of its first blocks "
            "that are 'L' at the end, as in 'LLMS3'"
            if mixed
            else ''
        )
        raise ValueError(
            f'attn_type={attn_type!r} must name the attention of four '
            f"stages, 'L' focused linear or 'S' softmax, as in 'LLSS'"
            f'{example}.'
        )
    kinds = []
    for letter, depth in zip(match[1], depths, strict=True):
        first = {'L': depth, 'S': 0, 'M': int(match[2] or 0)}[letter]
        if first > depth:
            raise ValueError(
                f'attn_type={attn_type!r} asks for {first} focused blocks in '
                f'a stage of {depth}.'
            )
        kinds.append(FOCUSED * first + SOFTMAX * (depth - first))
    return kinds


def training_grids(img_size: int) -> list[tuple[int, int]]:
    """Height and width of the four maps of a square training image.

    Raises:
        ValueError: If ``img_size`` is not a positive multiple of 32.
    """
    if not isinstance(img_size, int) or img_size < 1 or img_size % 32:
        raise ValueError(
            f'img_size={img_size!r} must be a positive multiple of 32, the '
            'size of the images that the weights are (or were) trained on: '
            'position tables cover whole maps. Images of any size go in.'
        )
    return [(img_size // stride,) * 2 for stride in STRIDES]


def focused_windows(
    window_size: int | None, img_size: int
) -> list[tuple[int, int] | None]:
    """The tiles of the focused stages, from their side in the first stage.

    They cover the same pixels in every stage: 56 gives 56, 28, 14 and 7.

    Raises:
        ValueError: If ``window_size`` is not a positive multiple of 8, or a
            training image is not a whole number of tiles.
    """
    if window_size is None:
        return [None] * 4
    if not isinstance(window_size, int) or window_size < 1 or window_size % 8:
        raise ValueError(
            f'window_size={window_size!r} must be None, for attention over '
            'the whole map, or a positive multiple of 8: the side of a tile '
            'in the first stage, halved from stage to stage.'
        )
    if img_size // 4 % window_size:
        raise ValueError(
            f'img_size={img_size} leaves a window uncovered: its map of '
            f'{img_size // 4} x {img_size // 4} in the first stage is not a '
            f'whole number of tiles of window_size={window_size}.'
        )
    return [(window_size >> stage,) * 2 for stage in range(4)]


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Zeros at the bottom and right of ``(B, C, H, W)``, if any are needed."""
    height, width = x.shape[2:]
    rows, columns = padded_shape((height, width), (multiple, multiple))
    if same_size((rows, columns), (height, width)):
        return x
    return F.pad(x, (0, columns - width, 0, rows - height))


class PatchEmbed(nn.Module):
    """Convolution to tokens of a coarser map, and a norm.

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
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """``(B, in_channels, H, W)`` to ``(B, N, dim)`` and its map's size."""
        if self.proj.kernel_size == self.proj.stride:
            x = pad_to_multiple(x, self.proj.stride[0])
        x = self.proj(x)
        return self.norm(x.flatten(2).transpose(1, 2)), tuple(x.shape[2:])


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
        conv = self.dwconv
        return depthwise_conv(x, hw_shape, conv.weight, conv.bias)


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
