# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Windows over a map of any size, and softmax attention inside them.

A window is a height and a width. A map that windows do not tile is padded at
the bottom and the right, and no token attends to padding. T is the number of
tokens of a window, nW the number of windows of a map.
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import PointwiseLinear
from .position import can_cache_results
from .softmax import softmax_attention
from .symbolic import (
    crop,
    padded_size,
    same_size,
    value_if_larger,
    windows_of_side,
)
from .tokens import check_heads, merge_heads, split_heads
from .window_index import place_of_token, token_of_place

# Swin and CSwin need two masks for each size of images. Those of stripes
# across a large map have some 10 MiB each.
CACHED_MASKS = 8


def _cache_masks(
    function: Callable[..., Tensor | None],
) -> Callable[..., Tensor | None]:
    """Cache the results of ``function``, except while a graph is made."""
    cached = lru_cache(maxsize=CACHED_MASKS)(function)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Tensor | None:
        return (cached if can_cache_results() else function)(*args, **kwargs)

    call.cache_info = cached.cache_info  # type: ignore[attr-defined]
    call.cache_clear = cached.cache_clear  # type: ignore[attr-defined]
    return call


def padded_shape(
    hw_shape: tuple[int, int], window: tuple[int, int]
) -> tuple[int, int]:
    """The smallest height and width from ``hw_shape`` on that windows tile."""
    rows, columns = map(padded_size, hw_shape, window)
    return rows, columns


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad ``(B, C, H, W)`` with zeros at the bottom and right, if needed."""
    height, width = x.shape[2:]
    rows, columns = padded_shape((height, width), (multiple, multiple))
    if same_size((rows, columns), (height, width)):
        return x
    return F.pad(x, (0, columns - width, 0, rows - height))


def split_windows(
    x: Tensor,
    hw_shape: tuple[int, int],
    window: tuple[int, int],
    shift: tuple[int, int] = (0, 0),
) -> Tensor:
    """Cut a map into windows; padding is zero.

    Args:
        x: ``(B, N, C)``, row-major over the map.
        hw_shape: Height and width of the map, N = H W.
        window: Height and width of a window.
        shift: Rows and columns by which the map is rolled up and left.

    Returns:
        ``(B, nW, T, C)``.
    """
    (height, width), (rows, columns) = hw_shape, padded_shape(hw_shape, window)
    if _by_index(hw_shape, window, shift):
        token, region = token_of_place(hw_shape, window, shift, x.device)
        x = x.index_select(1, token) * (region >= 0).to(x.dtype)[:, None]
        return x.unflatten(1, _windows_and_tokens(hw_shape, window))
    x = x.unflatten(1, hw_shape)
    if not same_size((rows, columns), hw_shape):
        x = F.pad(x, (0, 0, 0, columns - width, 0, rows - height))
    if any(shift):
        x = x.roll((-shift[0], -shift[1]), (1, 2))
    x = x.unflatten(2, (windows_of_side(width, window[1]), window[1]))
    x = x.unflatten(1, (windows_of_side(height, window[0]), window[0]))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def merge_windows(
    x: Tensor,
    hw_shape: tuple[int, int],
    window: tuple[int, int],
    shift: tuple[int, int] = (0, 0),
) -> Tensor:
    """Undo :func:`split_windows`: ``(B, nW, T, C)`` to ``(B, N, C)``."""
    if _by_index(hw_shape, window, shift):
        place = place_of_token(hw_shape, window, shift, x.device)
        return x.flatten(1, 2).index_select(1, place)
    rows, columns = map(windows_of_side, hw_shape, window)
    counts = (rows, columns)
    x = x.unflatten(2, window).unflatten(1, counts)
    x = x.transpose(2, 3).flatten(3, 4).flatten(1, 2)
    if any(shift):
        x = x.roll(shift, (1, 2))
    return crop(x, hw_shape).flatten(1, 2)


def _by_index(
    hw_shape: tuple[int, int],
    window: tuple[int, int],
    shift: tuple[int, int],
) -> bool:
    """Whether tokens are selected by index: in graphs that pad or roll."""
    return torch.compiler.is_compiling() and not (
        same_size(padded_shape(hw_shape, window), hw_shape)
        and same_size(shift, (0, 0))
    )


def _windows_and_tokens(
    hw_shape: tuple[int, int], window: tuple[int, int]
) -> tuple[int, int]:
    """``nW`` and ``T``."""
    rows, columns = map(windows_of_side, hw_shape, window)
    return rows * columns, window[0] * window[1]


@_cache_masks
def window_regions(
    hw_shape: tuple[int, int],
    window: tuple[int, int],
    shift: tuple[int, int] = (0, 0),
    device: torch.device | None = None,
) -> Tensor | None:
    """The region of every token of every window.

    Tokens attend to their own region. Rolling brings opposite borders of the
    map into one window, so these are different regions; padding is another.

    Args:
        hw_shape: Height and width of the map.
        window: Height and width of a window.
        shift: Rows and columns by which the map is rolled up and left.
        device: Where the result lies.

    Returns:
        Numbers of regions ``(nW, T)``, -1 for padding. None if every window
        is one region.
    """
    if _by_index(hw_shape, window, shift):
        region = token_of_place(hw_shape, window, shift, device)[1]
        return region.view(_windows_and_tokens(hw_shape, window))
    shape = padded_shape(hw_shape, window)
    if same_size(shape, hw_shape) and not any(shift):
        return None
    bands, inside = [], []
    for n, padded, by in zip(hw_shape, shape, shift, strict=True):
        index = (torch.arange(padded, device=device) + by) % padded
        inside.append(index < n)
        # What was rolled round the border lies in the last window.
        bands.append(index < by)
    regions = 2 * bands[0][:, None].long() + bands[1].long()
    regions = regions.masked_fill(~(inside[0][:, None] & inside[1]), -1)
    return split_windows(regions.view(1, -1, 1), shape, window)[0, ..., 0]


@_cache_masks
def _window_mask(
    hw_shape: tuple[int, int],
    window: tuple[int, int],
    shift: tuple[int, int],
    device: torch.device,
) -> Tensor | None:
    """Which tokens of a window attend to each other, ``(nW, 1, T, T)``.

    None if all of them do.
    """
    regions = window_regions(hw_shape, window, shift, device)
    if regions is None:
        return None
    return (regions[:, None, :, None] == regions[:, None, None]).contiguous()


def window_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    num_heads: int,
    hw_shape: tuple[int, int],
    window: tuple[int, int],
    shift: tuple[int, int] = (0, 0),
    bias: Tensor | None = None,
) -> Tensor:
    """Softmax attention inside the windows of a map.

    Args:
        query: Q of the windows, ``(B, nW, T, C)``, from
            :func:`split_windows`, as are the next two.
        key: K, the same shape.
        value: V, the same shape.
        num_heads: Number of heads; divides C.
        hw_shape: Height and width of the map.
        window: Height and width of a window.
        shift: The shift that the windows were split with.
        bias: Added to the logits, ``(h, T, T)``.

    Returns:
        ``(B, nW, T, C)``.
    """
    batch, windows = query.shape[:2]
    mask = _window_mask(hw_shape, window, shift, query.device)
    query, key, value = (  # (B nW, h, T, d)
        split_heads(x.flatten(0, 1), num_heads) for x in (query, key, value)
    )
    repeated = mask is not None and (
        torch.compiler.is_compiling() or mask.shape[0] > 1
    )
    if mask is not None and bias is not None:
        mask = bias.to(query.dtype).masked_fill(~mask, float('-inf'))
    elif bias is not None:
        mask = bias[None].to(query.dtype)
    if mask is not None and repeated:
        mask = mask.repeat(batch, 1, 1, 1)
    out = softmax_attention(query, key, value, mask)
    return merge_heads(out).unflatten(0, (batch, windows))


class WindowAttention(nn.Module):
    """Softmax attention in shifted windows, with relative position bias.

    Args:
        dim: Channels C of the tokens.
        num_heads: Number of heads; divides ``dim``.
        window: Height and width of a window.
        shift: Rows and columns by which windows are shifted.

    Raises:
        ValueError: If ``num_heads`` does not divide ``dim``.
    """

    relative_position_index: Tensor

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window: tuple[int, int],
        shift: tuple[int, int],
    ) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.window = window
        self.shift = shift
        self.qkv = PointwiseLinear(dim, 3 * dim)
        self.proj = PointwiseLinear(dim, dim)
        height, width = window
        self.relative_position_bias_table = nn.Parameter(
            torch.zeros((2 * height - 1) * (2 * width - 1), num_heads)
        )
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer(
            'relative_position_index',
            relative_position_index(window),
            persistent=False,
        )

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """``(B, N, C)``, row-major over the map, to the same shape."""
        # A side that one window covers has no other window to shift into.
        rows, columns = (
            value_if_larger(by, n, w)
            for n, w, by in zip(hw_shape, self.window, self.shift, strict=True)
        )
        shift = (rows, columns)
        query, key, value = (
            split_windows(part, hw_shape, self.window, shift)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        bias = self.relative_position_bias_table[self.relative_position_index]
        out = window_attention(
            query,
            key,
            value,
            self.num_heads,
            hw_shape,
            self.window,
            shift,
            bias.permute(2, 0, 1),
        )
        return self.proj(merge_windows(out, hw_shape, self.window, shift))


def relative_position_index(window: tuple[int, int]) -> Tensor:
    """The row of the bias table for every pair of tokens, ``(T, T)``."""
    rows, columns = torch.meshgrid(*map(torch.arange, window), indexing='ij')
    rows, columns = rows.flatten(), columns.flatten()
    down = rows[:, None] - rows + window[0] - 1
    right = columns[:, None] - columns + window[1] - 1
    return down * (2 * window[1] - 1) + right
