# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Allocate memory for the Triton kernels and launch them.

Launch parameters follow from the width of a head and never from the size of a
map, so every kernel is compiled once for all sizes.

Matrix products run on tensor cores with float32 numbers. One TF32 product
keeps 11 bits of its factors: all that float16 and bfloat16 values have, and
more than enough of phi beside those. Float32 inputs would lose up to 1e-3, so
three TF32 products make up for it there (``tf32x3``).
"""

import torch
from torch import Tensor

from . import backward, forward


class _Launch:
    """Grids and constants, the same for every kernel of a call."""

    def __init__(
        self,
        tokens: tuple[Tensor, ...],
        num_heads: int,
        focusing_factor: float,
    ) -> None:
        self.batch, _, channels = tokens[0].shape
        self.num_heads, self.head_dim = num_heads, channels // num_heads
        # At most 2048 numbers in a tile: registers hold several tiles.
        self.tile = min(64, 2048 // self.head_dim)
        # A program sums 8 D tokens: the D x D numbers that it leaves are an
        # eighth of their K and V in 16 bits.
        self.tiles = 8 * self.head_dim // self.tile
        c_pow2 = 1 << (channels - 1).bit_length()
        self.stats_tile = 4096 // c_pow2
        self.for_stats = {
            'C': channels,
            'C_POW2': c_pow2,
            'P': float(focusing_factor),
            'TILE': self.stats_tile,
        }
        per_head = {
            'H': num_heads,
            'D': self.head_dim,
            'P': float(focusing_factor),
            'TILE': self.tile,
            'num_warps': 8 if self.head_dim > 32 else 4,
        }
        self.for_map_grads = {
            **per_head,
            'H_POW2': 1 << (num_heads - 1).bit_length(),
        }
        wide = any(x.dtype == torch.float32 for x in tokens)
        self.for_products = {
            **per_head,
            'PRECISION': 'tf32x3' if wide else 'tf32',
        }
        self.for_sums = {
            **self.for_products,
            'TILES': self.tiles,
            'num_stages': 2,
        }

    def stats_grid(self, num_tokens: int) -> tuple[int, int, int]:
        """A program for each tile of all channels, of Q and of K."""
        return self.batch, -(-num_tokens // self.stats_tile), 2

    def tile_grid(self, num_tokens: int) -> tuple[int, int]:
        """A program for each head of each tile."""
        return self.batch * self.num_heads, -(-num_tokens // self.tile)

    def sum_grid(self, num_tokens: int) -> tuple[int, int]:
        """A program for each head of every ``tiles`` tiles."""
        size = self.tile * self.tiles
        return self.batch * self.num_heads, -(-num_tokens // size)

    def new_partials(self, x: Tensor, num_tokens: int) -> Tensor:
        """Room for the partial sums of kv, ``(B, programs, h, d + 1, d)``."""
        return x.new_empty(
            (
                self.batch,
                self.sum_grid(num_tokens)[1],
                self.num_heads,
                self.head_dim + 1,
                self.head_dim,
            ),
            dtype=torch.float32,
        )


def _with_adjacent_channels(x: Tensor) -> Tensor:
    """``x`` with the channels of a token side by side in memory."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _as_vector(scale: Tensor) -> Tensor:
    return scale.to(torch.float32).reshape(-1).contiguous()


def launch_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: Tensor,
    num_heads: int,
    focusing_factor: float,
    position: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute the output, and what the backward pass needs.

    Returns:
        The output ``(B, M, C)``, kv ``(B, h, d + 1, d)``, and the statistics
        of the tokens, ``(B, 3, M)`` of Q and ``(B, 3, N)`` of K.
    """
    launch = _Launch((query, key, value), num_heads, focusing_factor)
    query, key, value = map(_with_adjacent_channels, (query, key, value))
    if position is not None:
        position = _with_adjacent_channels(position)
    scale = _as_vector(scale)
    batch, num_queries, channels = query.shape
    num_keys = key.shape[1]
    query_stats = scale.new_empty(batch, 3, num_queries)
    key_stats = scale.new_empty(batch, 3, num_keys)
    out = value.new_empty(batch, num_queries, channels)
    partials = launch.new_partials(value, num_keys)
    stride_pn = 0 if position is None else position.stride(1)
    with torch.cuda.device_of(query):
        grid = launch.stats_grid(max(num_queries, num_keys))
        forward.focused_fwd_stats_kernel[grid](
            query,
            key,
            position,
            scale,
            query_stats,
            key_stats,
            *query.stride()[:2],
            *key.stride()[:2],
            stride_pn,
            num_queries,
            num_keys,
            **launch.for_stats,
        )
        forward.focused_fwd_kv_kernel[launch.sum_grid(num_keys)](
            key,
            position,
            value,
            scale,
            key_stats,
            partials,
            *key.stride()[:2],
            stride_pn,
            *value.stride()[:2],
            num_keys,
            **launch.for_sums,
        )
        kv = partials.sum(1)
        forward.focused_fwd_out_kernel[launch.tile_grid(num_queries)](
            query,
            scale,
            query_stats,
            kv,
            out,
            *query.stride()[:2],
            num_queries,
            **launch.for_products,
        )
    return out, kv, query_stats, key_stats


def launch_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: Tensor,
    num_heads: int,
    focusing_factor: float,
    position: Tensor | None,
    kv: Tensor,
    query_stats: Tensor,
    key_stats: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute the gradients of Q, K, V and the scale.

    The arguments are the gradient of the output, those of
    :func:`launch_forward`, and what it returns beside the output.
    """
    launch = _Launch((query, key, value), num_heads, focusing_factor)
    grad, query, key, value = map(
        _with_adjacent_channels, (grad, query, key, value)
    )
    if position is not None:
        position = _with_adjacent_channels(position)
    scale_vector = _as_vector(scale)
    batch, num_queries, channels = query.shape
    num_keys = key.shape[1]
    query_grid = launch.tile_grid(num_queries)
    key_grid = launch.tile_grid(num_keys)
    grad_query = query.new_empty(query.shape)
    grad_key = key.new_empty(key.shape)
    grad_value = value.new_empty(value.shape)
    partials = launch.new_partials(grad, num_queries)
    # Those of Q come first, those of K behind them.
    scale_partials = scale_vector.new_empty(
        batch * (query_grid[1] + key_grid[1]), channels
    )
    query_shares = scale_vector.new_empty(batch, num_queries, num_heads)
    key_shares = scale_vector.new_empty(batch, num_keys, num_heads)
    key_strides = (
        *key.stride()[:2],
        0 if position is None else position.stride(1),
        *value.stride()[:2],
    )
    with torch.cuda.device_of(query):
        backward.focused_bwd_kv_kernel[launch.sum_grid(num_queries)](
            grad,
            query,
            scale_vector,
            query_stats,
            kv,
            partials,
            query_shares,
            *grad.stride()[:2],
            *query.stride()[:2],
            num_queries,
            num_keys,
            **launch.for_sums,
        )
        grad_kv = partials.sum(1)
        backward.focused_bwd_q_kernel[query_grid](
            grad,
            query,
            scale_vector,
            query_stats,
            kv,
            query_shares,
            grad_query,
            scale_partials,
            *grad.stride()[:2],
            *query.stride()[:2],
            num_queries,
            **launch.for_map_grads,
        )
        backward.focused_bwd_v_kernel[key_grid](
            key,
            position,
            value,
            scale_vector,
            key_stats,
            grad_kv,
            grad_value,
            key_shares,
            *key_strides,
            num_keys,
            **launch.for_products,
        )
        backward.focused_bwd_k_kernel[key_grid](
            key,
            position,
            value,
            scale_vector,
            key_stats,
            grad_kv,
            key_shares,
            grad_key,
            scale_partials[batch * query_grid[1] :],
            *key_strides,
            num_keys,
            **launch.for_map_grads,
        )
    grad_scale = scale_partials.sum(0).view(scale.shape).to(scale.dtype)
    return grad_query, grad_key, grad_value, grad_scale
