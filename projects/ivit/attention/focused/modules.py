# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Modules of focused linear attention, one for each form of projections.

Parameter names and shapes are those of the authors' checkpoints. Symbols as
in :mod:`ivit.attention.focused`.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import PointwiseLinear, depthwise_conv
from ..position import ResizedTable
from ..precision import at_least_float32, linear_in_float32, no_autocast
from ..tokens import check_heads, check_tokens
from ..window import from_windows, regions_of_windows, to_windows
from . import focused_linear_attention


class FocusedLinearAttentionBase(nn.Module):
    """Focused linear attention and DWC over a map, without projections.

    With p = 1 and without DWC it is plain linear attention: the feature map
    is ``(ReLU(x) + 1e-6) / scale``. The learned table ``positional_encoding``
    lies on the training grid and is interpolated to the map.

    Args:
        dim: Channels C of the tokens.
        num_heads: Number of heads h; divides ``dim``.
        grid_size: Height and width of the training grid.
        focusing_factor: p, at least 1.
        kernel_size: Side of DWC's kernel, odd; None leaves DWC out.
        tile_size: Height and width of the tiles in which to attend; None
            attends over the whole map.

    Raises:
        ValueError: If ``num_heads`` does not divide ``dim``, p is below 1,
            the kernel is even, or a grid or tile is empty.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        grid_size: tuple[int, int],
        focusing_factor: float = 3,
        kernel_size: int | None = 5,
        tile_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        _check_focusing_factor(focusing_factor)
        _check_kernel_size(kernel_size)
        _check_size('grid_size', grid_size)
        if tile_size is not None:
            _check_size('tile_size', tile_size)
        self.dim = dim
        self.num_heads = num_heads
        height, width = grid_size
        self.grid_size = (height, width)
        self.focusing_factor = focusing_factor
        self.tile_size = (
            None if tile_size is None else (tile_size[0], tile_size[1])
        )
        self.dwc = None
        if kernel_size is not None:
            # All heads share one kernel, of as many channels as one head has
            # (models).
            head_dim = dim // num_heads
            self.dwc = nn.Conv2d(
                head_dim,
                head_dim,
                kernel_size,
                padding=kernel_size // 2,
                groups=head_dim,
            )
        self.scale = nn.Parameter(torch.zeros(1, 1, dim))
        self.positional_encoding = nn.Parameter(
            torch.zeros(1, height * width, dim)
        )
        self._resized = ResizedTable()

    def convs_of_value(self) -> list[nn.Conv2d]:
        """The depthwise convolutions of V that are added to the result."""
        return [] if self.dwc is None else [self.dwc]

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        hw_shape: Sequence[int],
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
        batch, height, width = query.shape[0], *hw_shape
        shape, valid = (height, width), None
        if self.tile_size is not None:
            # From here on, tiles are the maps of a larger batch, and keys on
            # padding do not count.
            shape = self.tile_size
            query, key, value = (
                to_windows(x, (height, width), shape)
                for x in (query, key, value)
            )
            regions = regions_of_windows(
                batch, (height, width), shape, device=query.device
            )
            valid = None if regions is None else regions >= 0
        out = focused_linear_attention(
            query,
            key,
            value,
            F.softplus(at_least_float32(self.scale)),
            self.num_heads,
            self.focusing_factor,
            self._resized(self.positional_encoding, self.grid_size, shape),
            valid,
        )
        for conv in self.convs_of_value():
            out = out + depthwise_conv(value, shape, conv)
        if self.tile_size is not None:
            out = from_windows(out, (height, width), shape)
        return out

    def train(self, mode: bool = True) -> 'FocusedLinearAttentionBase':
        """Set the mode, and forget the table resized in the mode before."""
        self._resized.clear()
        return super().train(mode)


class FocusedLinearAttention(FocusedLinearAttentionBase):
    """Focused linear attention of tokens, with one projection, as in Swin.

    Args:
        *args: Arguments of :class:`FocusedLinearAttentionBase`.
        qkv_bias: Whether the projection to Q, K and V has a bias.
        **kwargs: Arguments of :class:`FocusedLinearAttentionBase`.

    Raises:
        ValueError: As :class:`FocusedLinearAttentionBase` does.
    """

    def __init__(
        self, *args: Any, qkv_bias: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.add_projections(qkv_bias)

    def add_projections(self, qkv_bias: bool) -> None:
        """Build the layers that :meth:`project` uses, and ``proj``."""
        self.qkv = PointwiseLinear(self.dim, 3 * self.dim, bias=qkv_bias)
        self.proj = PointwiseLinear(self.dim, self.dim)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens ``(B, N, C)`` to Q, K and V, ``(B, N, C)`` each."""
        query, key, value = linear_in_float32(self.qkv, x).chunk(3, dim=-1)
        return query, key, value

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Attend over a map.

        Args:
            x: Tokens ``(B, N, C)``, row-major over the map.
            hw_shape: Height and width of the map, N = H W.

        Returns:
            ``(B, N, C)`` in the dtype of ``x``.

        Raises:
            ValueError: If N is not H W or C is not ``dim``.
        """
        check_tokens(x, hw_shape, self.dim)
        with no_autocast(x):
            out = self.attend(*self.project(x), hw_shape)
            return linear_in_float32(self.proj, out).to(x.dtype)


class FocusedLinearAttentionPVT(FocusedLinearAttention):
    """Focused linear attention as in PVT: Q is projected apart from K and V.

    K and V are of the whole map, as in every published model of the family
    (``sr_ratio`` 1).
    """

    def add_projections(self, qkv_bias: bool) -> None:
        """Build the layers that :meth:`project` uses, and ``proj``."""
        self.q = PointwiseLinear(self.dim, self.dim, bias=qkv_bias)
        self.kv = PointwiseLinear(self.dim, 2 * self.dim, bias=qkv_bias)
        self.proj = PointwiseLinear(self.dim, self.dim)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens ``(B, N, C)`` to Q, K and V, ``(B, N, C)`` each."""
        key, value = linear_in_float32(self.kv, x).chunk(2, dim=-1)
        return linear_in_float32(self.q, x), key, value


class FocusedLinearAttentionCSwin(FocusedLinearAttentionBase):
    """Focused linear attention as in CSwin: the block projects, LePE is added.

    LePE (arXiv 2107.00652) is a 3 x 3 depthwise convolution of V, ``get_v``.
    Arguments and errors are those of :class:`FocusedLinearAttentionBase`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        dim = self.dim
        self.get_v = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def convs_of_value(self) -> list[nn.Conv2d]:
        """DWC and LePE."""
        return [*super().convs_of_value(), self.get_v]

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        hw_shape: Sequence[int],
    ) -> Tensor:
        """See :meth:`attend`."""
        return self.attend(query, key, value, hw_shape)


def _check_focusing_factor(focusing_factor: float) -> None:
    if not (
        isinstance(focusing_factor, int | float)
        and 1 <= focusing_factor < float('inf')
    ):
        raise ValueError(
            f'focusing_factor={focusing_factor!r} must be a number of at '
            'least 1; the published models have 3.'
        )


def _check_kernel_size(kernel_size: int | None) -> None:
    if kernel_size is not None and not (
        isinstance(kernel_size, int)
        and kernel_size > 0
        and kernel_size % 2 == 1
    ):
        raise ValueError(
            f'kernel_size={kernel_size!r} must be odd and positive, so that '
            'the convolution keeps the size of the map, or None for no '
            'convolution; the published models have 5.'
        )


def _check_size(name: str, size: Sequence[int]) -> None:
    if not (
        isinstance(size, Sequence)
        and len(size) == 2
        and all(isinstance(n, int) and n >= 1 for n in size)
    ):
        raise ValueError(
            f'{name}={size!r} must be a height and a width, integers of at '
            'least 1.'
        )
