# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Focused linear attention, arXiv 2308.00442.

Symbols as in the paper: N tokens, h heads of d channels, C = h d, Q, K, V the
projected tokens, p the focusing factor, f_p the focused function, DWC the
depthwise convolution that restores the rank of the attention map. What the
published models have beyond the paper's equations (the learned scale, the
position table on K, the epsilons, norms over all heads together) is marked
"models"; docs/flatten.md lists it.

Everything from Q and K on is computed in float32 or better: the power p
multiplies the relative error of its argument, and sums run over N tokens.
"""

import os
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import go_in_blocks
from .depthwise import depthwise_conv
from .focused_blocks import attend_in_blocks
from .focused_eager import attend_eagerly
from .pointwise import PointwiseLinear
from .position import ResizedTable
from .precision import no_autocast, wide_linear, widen
from .tokens import check_heads, check_tokens
from .window import merge_windows, split_windows, window_regions

try:  # where there is Triton, and a GPU to run its kernels
    if not torch.cuda.is_available():
        raise ImportError
    from .focused_triton import fused_focused_attention, supported
except ImportError:
    fused_focused_attention = None

#: The environment variable that forces an implementation.
SWITCH = 'IVIT_FOCUSED_ATTENTION'


def focused_linear_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: Tensor,
    num_heads: int,
    focusing_factor: float = 3,
    valid: Tensor | None = None,
    position: Tensor | None = None,
) -> Tensor:
    """Attention with ``phi_p(Q) (phi_p(K)^T V)`` for softmax(QK^T)V.

    For every head ``o_i = q_i (K^T V / N) / (q_i mean_j(k_j) + 1e-6)``
    (paper, Eq. 4, divided by N above and below): two matrix products of
    O(N C d), nothing of size N x N. It is computed in float32 or better
    whatever comes in, so no sum over N can overflow.

    Args:
        query: Q, ``(B, M, C)``.
        key: K, ``(B, N, C)``.
        value: V, ``(B, N, C)``.
        scale: Positive scale of the channels, ``(1, 1, C)``.
        num_heads: h; divides C.
        focusing_factor: p, at least 1.
        valid: Which keys count, bool ``(B, N)``, at least one in every row;
            None if all do. The others change no bit of the result.
        position: To be added to K, ``(1, N, C)``, or None.

    Returns:
        ``(B, M, C)`` in the dtype of ``value``.

    Raises:
        ValueError: If the environment has ``IVIT_FOCUSED_ATTENTION=fused``
            and there is no fused implementation for these tensors. ``eager``
            forces the formula; ``auto`` is the default.
    """
    with no_autocast(query):
        fused = _find_fused(query, key, value, num_heads, valid)
        if fused is None:
            return attend_eagerly(
                query,
                key,
                value,
                scale,
                num_heads,
                focusing_factor,
                valid,
                position,
            )
        dtype = widen(query).dtype
        scale = scale.to(dtype)
        position = None if position is None else position.to(dtype)
        return fused(
            query=query,
            key=key,
            value=value,
            scale=scale,
            num_heads=num_heads,
            focusing_factor=focusing_factor,
            position=position,
        )


def _read_switch() -> str:
    choice = os.environ.get(SWITCH, 'auto')
    if choice not in ('auto', 'eager', 'fused'):
        raise ValueError(
            f"{SWITCH}={choice!r} must be 'auto', 'eager' or 'fused'."
        )
    return choice


CHOICE = _read_switch()


def _find_fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    num_heads: int,
    valid: Tensor | None,
) -> Callable[..., Tensor] | None:
    """The fast implementation for these tensors; None if the formula is it.

    Raises:
        ValueError: If the environment asks for it and there is none.
    """
    if CHOICE == 'eager':
        return None
    if valid is None:
        if go_in_blocks(query):
            return attend_in_blocks
        if fused_focused_attention and supported(query, key, value, num_heads):
            return fused_focused_attention
    if CHOICE == 'fused':
        raise ValueError(
            f'{SWITCH}=fused, but there is no fused focused attention for '
            f'{query.dtype} on {query.device.type} with heads of '
            f'{query.shape[-1] // num_heads} channels and '
            f'{"no" if valid is None else "a"} mask of keys. Take auto, '
            'which takes the formula there.'
        )
    return None


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


class FocusedAttention(nn.Module):
    """Focused linear attention over a map, of Q, K and V projected elsewhere.

    With p = 1 and without DWC it is plain linear attention: the feature map
    is ``(ReLU(x) + 1e-6) / scale``. The learned table
    ``positional_encoding`` lies on the training grid and is interpolated to
    the map. Parameter names and shapes are those of the
    authors' checkpoints.

    Args:
        dim: Channels C of the tokens.
        num_heads: Number of heads h; divides ``dim``.
        grid_size: Height and width of the training grid.
        focusing_factor: p, at least 1.
        kernel_size: Side of DWC's kernel, odd; None leaves DWC out.
        window_size: Height and width of tiles in which to attend; None
            attends over the whole map.

    Raises:
        ValueError: If ``num_heads`` does not divide ``dim``, or p is below 1,
            or the kernel is even, or a grid or tile is empty.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        grid_size: tuple[int, int],
        focusing_factor: float = 3,
        kernel_size: int | None = 5,
        window_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        if not (
            isinstance(focusing_factor, int | float)
            and 1 <= focusing_factor < float('inf')
        ):
            raise ValueError(
                f'focusing_factor={focusing_factor!r} must be a number of at '
                'least 1; the published models have 3.'
            )
        if kernel_size is not None and not (
            isinstance(kernel_size, int)
            and kernel_size > 0
            and kernel_size % 2 == 1
        ):
            raise ValueError(
                f'kernel_size={kernel_size!r} must be odd and positive, so '
                'that the convolution keeps the size of the map, or None for '
                'no convolution; the published models have 5.'
            )
        _check_size('grid_size', grid_size)
        if window_size is not None:
            _check_size('window_size', window_size)
        self.dim = dim
        self.num_heads = num_heads
        self.grid_size = tuple(grid_size)
        self.focusing_factor = focusing_factor
        self.window_size = None if window_size is None else tuple(window_size)
        self.dwc = None
        if kernel_size is not None:
            # One kernel for all heads (models): the channels of one head.
            head_dim = dim // num_heads
            self.dwc = nn.Conv2d(
                head_dim,
                head_dim,
                kernel_size,
                padding=kernel_size // 2,
                groups=head_dim,
            )
        self.scale = nn.Parameter(torch.zeros(1, 1, dim))
        height, width = grid_size
        self.positional_encoding = nn.Parameter(
            torch.zeros(1, height * width, dim)
        )
        self._resized = ResizedTable()

    def attend(
        self,
        qkv: tuple[Tensor, Tensor, Tensor],
        hw_shape: tuple[int, int],
    ) -> Tensor:
        """Attend over a map.

        Args:
            qkv: Q, K and V, ``(B, N, C)`` each, row-major over the map.
            hw_shape: Height and width of the map, N = H W.

        Returns:
            ``(B, N, C)``.
        """
        attend = self._attend_in_tiles if self.window_size else self._attend
        return attend(qkv, tuple(hw_shape))

    def _attend(
        self,
        qkv: tuple[Tensor, Tensor, Tensor],
        hw_shape: tuple[int, int],
        valid: Tensor | None = None,
    ) -> Tensor:
        """Attention and DWC over whole maps, ``(B, N, C)``."""
        query, key, value = qkv
        position = self._resized(
            self.positional_encoding, self.grid_size, hw_shape
        )
        out = focused_linear_attention(
            query,
            key,
            value,
            F.softplus(widen(self.scale)),
            self.num_heads,
            self.focusing_factor,
            valid,
            position,
        )
        if self.dwc is None:
            return out
        return out + depthwise_conv(
            value, hw_shape, self.dwc.weight, self.dwc.bias
        )

    def _attend_in_tiles(
        self, qkv: tuple[Tensor, Tensor, Tensor], hw_shape: tuple[int, int]
    ) -> Tensor:
        """The same in each tile for itself; keys of padding do not count."""
        batch, window = qkv[0].shape[0], self.window_size
        tiles = tuple(
            split_windows(x, hw_shape, window).flatten(0, 1) for x in qkv
        )
        regions = window_regions(hw_shape, window, device=tiles[0].device)
        valid = None if regions is None else (regions >= 0).repeat(batch, 1)
        out = self._attend(tiles, window, valid)
        return merge_windows(out.unflatten(0, (batch, -1)), hw_shape, window)

    def train(self, mode: bool = True) -> 'FocusedAttention':
        """Set the mode."""
        self._resized.clear()
        return super().train(mode)


class FocusedLinearAttention(FocusedAttention):
    """Focused linear attention over a map, as in FLatten-Swin.

    Args:
        dim: Channels C of the tokens.
        num_heads: Number of heads h; divides ``dim``.
        grid_size: Height and width of the training grid.
        focusing_factor: p, at least 1.
        kernel_size: Side of DWC's kernel, odd; None leaves DWC out.
        qkv_bias: Whether the projection to Q, K and V has a bias.
        window_size: Height and width of tiles in which to attend; None
            attends over the whole map.

    Raises:
        ValueError: As :class:`FocusedAttention` does.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        grid_size: tuple[int, int],
        focusing_factor: float = 3,
        kernel_size: int | None = 5,
        qkv_bias: bool = True,
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
        self._add_projections(qkv_bias)

    def _add_projections(self, qkv_bias: bool) -> None:
        self.qkv = PointwiseLinear(self.dim, 3 * self.dim, bias=qkv_bias)
        self.proj = PointwiseLinear(self.dim, self.dim)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Q, K and V, ``(B, N, C)`` each."""
        return wide_linear(self.qkv, x).chunk(3, dim=-1)

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
            out = self.attend(self._project(x), hw_shape)
            return wide_linear(self.proj, out).to(x.dtype)


class FocusedLinearAttentionPVT(FocusedLinearAttention):
    """Focused linear attention as in FLatten-PVT: ``q`` and ``kv`` apart.

    K and V are of the full map, as in every published model of the family
    (``sr_ratio`` 1).
    """

    def _add_projections(self, qkv_bias: bool) -> None:
        self.q = PointwiseLinear(self.dim, self.dim, bias=qkv_bias)
        self.kv = PointwiseLinear(self.dim, 2 * self.dim, bias=qkv_bias)
        self.proj = PointwiseLinear(self.dim, self.dim)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        kv = wide_linear(self.kv, x)
        return wide_linear(self.q, x), *kv.chunk(2, dim=-1)
