# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Windows over a map of any size, and softmax attention inside them.

A window is a height and a width; a map that windows do not tile is padded at
the bottom and the right, and no token attends to padding. T is the number of
tokens of a window, nW the number of windows of a map.
"""

from collections.abc import Callable
from functools import lru_cache, wraps

import torch
import torch.nn.functional as F
from torch import Tensor

from .position import may_be_kept
from .symbolic import crop, same_size
from .tokens import merge_heads, split_heads

# A size of images takes two masks in Swin and in CSwin; those of stripes
# across a large map are some 10 MiB each.
CACHED_SIZES = 8


def _cached(
    function: Callable[..., Tensor | None],
) -> Callable[..., Tensor | None]:
    """Keep what ``function`` returns, but nothing that is not there."""
    kept = lru_cache(maxsize=CACHED_SIZES)(function)

    @wraps(function)
    def cached(*args: object, **kwargs: object) -> Tensor | None:
        call = kept if may_be_kept() else function
        return call(*args, **kwargs)

    cached.cache_info, cached.cache_clear = kept.cache_info, kept.cache_clear
    return cached


def padded_shape(
    hw_shape: tuple[int, int], window: tuple[int, int]
) -> tuple[int, int]:
    """The next larger height and width that windows tile."""
    # Not -(-n // w) * w, which sympy does not simplify in a graph's sizes.
    return tuple(
        (n + w - 1) // w * w for n, w in zip(hw_shape, window, strict=True)
    )


def split_windows(
    x: Tensor,
    hw_shape: tuple[int, int],
    window: tuple[int, int],
    shift: tuple[int, int] = (0, 0),
) -> Tensor:
    """Tokens of a map to those of its windows, zeros where it is padded.

    Args:
        x: ``(B, N, C)``, row-major over the map.
        hw_shape: Height and width of the map, N = H W.
        window: Height and width of a window.
        shift: Rows and columns by which the map is rolled up and left.

    Returns:
        ``(B, nW, T, C)``.
    """
    (height, width), (rows, columns) = hw_shape, padded_shape(hw_shape, window)
    x = x.unflatten(1, hw_shape)
    if not same_size((rows, columns), hw_shape):
        x = F.pad(x, (0, 0, 0, columns - width, 0, rows - height))
    if any(shift):
        x = x.roll((-shift[0], -shift[1]), (1, 2))
    x = x.unflatten(2, (columns // window[1], window[1]))
    x = x.unflatten(1, (rows // window[0], window[0]))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def merge_windows(
    x: Tensor,
    hw_shape: tuple[int, int],
    window: tuple[int, int],
    shift: tuple[int, int] = (0, 0),
) -> Tensor:
    """Undo :func:`split_windows`: ``(B, nW, T, C)`` to ``(B, N, C)``."""
    rows, columns = padded_shape(hw_shape, window)
    counts = (rows // window[0], columns // window[1])
    x = x.unflatten(2, window).unflatten(1, counts)
    x = x.transpose(2, 3).flatten(3, 4).flatten(1, 2)
    if any(shift):
        x = x.roll(shift, (1, 2))
    return crop(x, hw_shape).flatten(1, 2)


@_cached
def window_regions(
    hw_shape: tuple[int, int],
    window: tuple[int, int],
    shift: tuple[int, int] = (0, 0),
    device: torch.device | None = None,
) -> Tensor | None:
    """What belongs together in each window, or None if all of it does.

    Rolling brings opposite borders of the map into one window; those tokens
    are regions of their own, and so is the padding.

    Returns:
        Numbers of regions ``(nW, T)``, -1 for padding.
    """
    shape = padded_shape(hw_shape, window)
    if same_size(shape, hw_shape) and not any(shift):
        return None
    bands, inside = [], []
    for n, padded, by in zip(hw_shape, shape, shift, strict=True):
        place = (torch.arange(padded, device=device) + by) % padded
        inside.append(place < n)
        # Rolled round the border: only rows of the last window can be.
        bands.append(place < by)
    regions = 2 * bands[0][:, None].long() + bands[1].long()
    regions = regions.masked_fill(~(inside[0][:, None] & inside[1]), -1)
    return split_windows(regions.view(1, -1, 1), shape, window)[0, ..., 0]


@_cached
def _window_mask(
    hw_shape: tuple[int, int],
    window: tuple[int, int],
    shift: tuple[int, int],
    device: torch.device,
) -> Tensor | None:
    """Which tokens of a window see each other, ``(nW, 1, T, T)``."""
    regions = window_regions(hw_shape, window, shift, device)
    if regions is None:
        return None
    return (regions[:, None, :, None] == regions[:, None, None]).contiguous()


def _softmax_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
) -> Tensor:
    """``softmax(QK^T / sqrt(d) + mask) V``, the faster way."""
    # CPUs have no fused kernel for a mask that learns: torch then takes 1.2
    # times as long as this (Swin's windows, forward and backward).
    if (
        mask is not None
        and mask.requires_grad
        and query.device.type == 'cpu'
        and query.dtype == torch.float32
    ):
        logits = query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1)
        return (logits + mask).softmax(-1) @ value
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


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
    query, key, value = (
        split_heads(x.flatten(0, 1), num_heads) for x in (query, key, value)
    )
    mask = _window_mask(hw_shape, window, shift, query.device)
    if mask is not None and bias is not None:
        mask = bias.to(query.dtype).masked_fill(~mask, float('-inf'))
    elif bias is not None:
        mask = bias[None].to(query.dtype)
    if mask is not None and mask.shape[0] > 1:
        mask = mask.repeat(batch, 1, 1, 1)
    out = _softmax_attention(query, key, value, mask)
    return merge_heads(out).unflatten(0, (batch, windows))
