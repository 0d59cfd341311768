# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Launch the Triton kernels of focused linear attention.

Launch parameters follow from the width of a head, never from the size of a
map: whatever sizes a data set has, every kernel is compiled once.

Matrix products take float32 numbers on tensor cores. One TF32 product keeps
11 bits of its factors, all that float16 and bfloat16 values have, and more
than enough of phi beside those; of float32 inputs it would lose up to 1e-3,
so there three of them make up for it (``tf32x3``).
"""

import torch
from torch import Tensor

from . import focused_grad_kernels as grad_kernels
from . import focused_kernels as kernels


class _Launch:
    """Grids and constants, the same for every kernel of a call."""

    def __init__(
        self, tokens: tuple[Tensor, ...], num_heads: int, factor: float
    ) -> None:
        self.batch, _, channels = tokens[0].shape
        width = channels // num_heads
        # Tiles of 2048 numbers at most: several are in registers at once.
        self.block = min(64, 2048 // width)
        # Chunks of 8 D tokens: the D x D numbers that one leaves are an
        # eighth of its K and V in 16 bits.
        self.steps = 8 * width // self.block
        self.rows = {
            'C': channels,
            'WIDTH': 1 << (channels - 1).bit_length(),
            'P': float(factor),
        }
        self.rows['BLOCK'] = 4096 // self.rows['WIDTH']
        heads = {
            'H': num_heads,
            'D': width,
            'P': float(factor),
            'BLOCK': self.block,
            'num_warps': 8 if width > 32 else 4,
        }
        self.grads = {
            **heads,
            'HEADS': 1 << (num_heads - 1).bit_length(),
        }
        wide = any(x.dtype == torch.float32 for x in tokens)
        self.heads = {**heads, 'PRECISION': 'tf32x3' if wide else 'tf32'}
        self.sums = {**self.heads, 'STEPS': self.steps, 'num_stages': 2}

    def blocks(self, tokens: int) -> tuple[int, int]:
        """The grid of a program for a head of a block."""
        return self.batch * self.heads['H'], -(-tokens // self.block)

    def chunks(self, tokens: int) -> tuple[int, int]:
        """The grid of a program for a head of ``steps`` blocks."""
        size = self.block * self.steps
        return self.batch * self.heads['H'], -(-tokens // size)

    def parts(self, x: Tensor, tokens: int) -> Tensor:
        """Room for what the chunks leave: the products and the sums."""
        heads, width = self.heads['H'], self.heads['D']
        chunks = self.chunks(tokens)[1]
        return x.new_empty(
            (self.batch, chunks, heads, width + 1, width), dtype=torch.float32
        )


def _rows(x: Tensor | None) -> Tensor | None:
    """``x`` with the channels of a token side by side."""
    return x if x is None or x.stride(-1) == 1 else x.contiguous()


def _channels(scale: Tensor) -> Tensor:
    return scale.to(torch.float32).reshape(-1).contiguous()


def launch_forward(
    query: Tensor,
    key: Tensor,
    position: Tensor | None,
    value: Tensor,
    scale: Tensor,
    num_heads: int,
    focusing_factor: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The output; the summary ``(B, h, d + 1, d)``; numbers of the tokens."""
    launch = _Launch((query, key, value), num_heads, focusing_factor)
    query, key, position, value = map(_rows, (query, key, position, value))
    scale = _channels(scale)
    batch, queries, channels = query.shape
    keys = key.shape[1]
    query_rows = scale.new_empty(batch, 3, queries)
    key_rows = scale.new_empty(batch, 3, keys)
    out = value.new_empty(batch, queries, channels)
    parts = launch.parts(value, keys)
    position_n = 0 if position is None else position.stride(1)
    with torch.cuda.device_of(query):
        blocks = -(-max(queries, keys) // launch.rows['BLOCK'])
        kernels.measure_tokens[batch, blocks, 2](
            query,
            key,
            position,
            scale,
            query_rows,
            key_rows,
            *query.stride()[:2],
            *key.stride()[:2],
            position_n,
            queries,
            keys,
            **launch.rows,
        )
        kernels.summarize[launch.chunks(keys)](
            key,
            position,
            value,
            scale,
            key_rows,
            parts,
            *key.stride()[:2],
            position_n,
            *value.stride()[:2],
            keys,
            **launch.sums,
        )
        summary = parts.sum(1)
        kernels.attend[launch.blocks(queries)](
            query,
            scale,
            query_rows,
            summary,
            out,
            *query.stride()[:2],
            queries,
            **launch.heads,
        )
    return out, summary, query_rows, key_rows


def launch_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    position: Tensor | None,
    value: Tensor,
    scale: Tensor,
    num_heads: int,
    focusing_factor: float,
    summary: Tensor,
    query_rows: Tensor,
    key_rows: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of Q, K, V and the scale.

    Arguments beyond those of :func:`launch_forward` are the gradient of its
    output and the rest of what it returns.
    """
    launch = _Launch((query, key, value), num_heads, focusing_factor)
    grad, query, key, position, value = map(
        _rows, (grad, query, key, position, value)
    )
    scales = _channels(scale)
    batch, queries, channels = query.shape
    keys = key.shape[1]
    of_queries, of_keys = launch.blocks(queries), launch.blocks(keys)
    grad_query = query.new_empty(query.shape)
    grad_key = key.new_empty(key.shape)
    grad_value = value.new_empty(value.shape)
    parts = launch.parts(grad, queries)
    scale_parts = scales.new_empty(
        batch * (of_queries[1] + of_keys[1]), channels
    )
    query_shares = scales.new_empty(batch, queries, num_heads)
    key_shares = scales.new_empty(batch, keys, num_heads)
    position_n = 0 if position is None else position.stride(1)
    strides_of_keys = (
        *key.stride()[:2],
        position_n,
        *value.stride()[:2],
    )
    with torch.cuda.device_of(query):
        grad_kernels.summary_grad[launch.chunks(queries)](
            grad,
            query,
            scales,
            query_rows,
            summary,
            parts,
            query_shares,
            *grad.stride()[:2],
            *query.stride()[:2],
            queries,
            keys,
            **launch.sums,
        )
        grad_summary = parts.sum(1)
        grad_kernels.query_grad[of_queries](
            grad,
            query,
            scales,
            query_rows,
            summary,
            query_shares,
            grad_query,
            scale_parts,
            *grad.stride()[:2],
            *query.stride()[:2],
            queries,
            **launch.grads,
        )
        grad_kernels.value_grad[of_keys](
            key,
            position,
            value,
            scales,
            key_rows,
            grad_summary,
            grad_value,
            key_shares,
            *strides_of_keys,
            keys,
            **launch.heads,
        )
        grad_kernels.key_grad[of_keys](
            key,
            position,
            value,
            scales,
            key_rows,
            grad_summary,
            key_shares,
            grad_key,
            scale_parts[batch * of_queries[1] :],
            *strides_of_keys,
            keys,
            **launch.grads,
        )
    grad_scale = scale_parts.sum(0).view(scale.shape).to(scale.dtype)
    return grad_query, grad_key, grad_value, grad_scale
