# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Two operators of PyTorch, forward and backward, on the Triton kernels.

The backward pass keeps Q, K and V and three numbers for each token, and
nothing else of the tokens' size. ``torch.compile`` sees one node where the
attention is, for maps of any size.
"""

from typing import Any

import torch
from torch import Size, Tensor
from torch.utils.flop_counter import register_flop_formula

from ...precision import at_least_float32, no_autocast
from .. import naive
from .launch import launch_backward, launch_forward

_INPUTS = (
    'Tensor query, Tensor key, Tensor value, Tensor scale, int num_heads, '
    'float focusing_factor, Tensor? position'
)
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# With 128, which no published model has, the kernels outgrow the registers.
HEAD_DIMS = (16, 32, 64)
MAX_CHANNELS = 1024


@torch.compiler.assume_constant_result
def _has_tf32(device: torch.device) -> bool:
    """Whether the GPU is of Ampere's generation or later."""
    return torch.cuda.get_device_capability(device) >= (8, 0)


def supports(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    num_heads: int,
    valid: Tensor | None,
) -> bool:
    """Tokens on a recent GPU, in heads of 16, 32 or 64 channels, no mask."""
    tokens = (query, key, value)
    return (
        valid is None
        and all(x.is_cuda and x.dtype in DTYPES for x in tokens)
        and all(x.shape[0] > 0 and x.shape[1] > 0 for x in tokens)
        and query.shape[-1] <= MAX_CHANNELS
        and query.shape[-1] // num_heads in HEAD_DIMS
        and _has_tf32(query.device)
    )


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: Tensor,
    num_heads: int,
    focusing_factor: float,
    position: Tensor | None,
    valid: Tensor | None,
) -> Tensor:
    """See :func:`ivit.attention.focused_linear_attention`.

    Kernels give the gradients of first order, the formula those of higher
    order.
    """
    dtype = at_least_float32(query).dtype
    return torch.ops.ivit.focused_attention(
        query,
        key,
        value,
        scale.to(dtype),
        num_heads,
        float(focusing_factor),
        None if position is None else position.to(dtype),
    )[0]


torch.library.define(
    'ivit::focused_attention',
    f'({_INPUTS}) -> (Tensor, Tensor, Tensor, Tensor)',
)
torch.library.define(
    'ivit::focused_attention_backward',
    f'(Tensor grad, {_INPUTS}, Tensor kv, Tensor query_stats, '
    'Tensor key_stats) -> (Tensor, Tensor, Tensor, Tensor)',
)
torch.library.impl('ivit::focused_attention', 'default', launch_forward)
torch.library.impl(
    'ivit::focused_attention_backward', 'default', launch_backward
)


@torch.library.register_fake('ivit::focused_attention')
def _fake_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: Tensor,
    num_heads: int,
    focusing_factor: float,
    position: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, num_queries, channels = query.shape
    head_dim = channels // num_heads
    float32 = scale.new_empty(0, dtype=torch.float32)
    return (
        value.new_empty(query.shape),
        float32.new_empty(batch, num_heads, head_dim + 1, head_dim),
        float32.new_empty(batch, 3, num_queries),
        float32.new_empty(batch, 3, key.shape[1]),
    )


@torch.library.register_fake('ivit::focused_attention_backward')
def _fake_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: Tensor,
    *rest: int | float | Tensor | None,
) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in (query, key, value, scale))


def _count_macs(query: Size, key: Size, num_heads: int) -> int:
    """The multiply-adds of the formula's two matrix products."""
    batch, num_queries, channels = query
    return batch * (num_queries + key[1]) * channels * (channels // num_heads)


@register_flop_formula(torch.ops.ivit.focused_attention)
def _count_flops(
    query: Size,
    key: Size,
    value: Size,
    scale: Size,
    num_heads: int,
    focusing_factor: float,
    position: Size | None,
    *,
    out_shape: tuple[Size, ...],
) -> int:
    return 2 * _count_macs(query, key, num_heads)


@register_flop_formula(torch.ops.ivit.focused_attention_backward)
def _count_backward_flops(
    grad: Size,
    query: Size,
    key: Size,
    value: Size,
    scale: Size,
    num_heads: int,
    *rest: Any,
    out_shape: tuple[Size, ...],
) -> int:
    return 4 * _count_macs(query, key, num_heads)


def _save_for_backward(
    ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]
) -> None:
    *tensors, ctx.num_heads, ctx.focusing_factor, position = inputs
    ctx.save_for_backward(*tensors, position, *output[1:])
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)


def _backward(
    ctx: Any, grad: Tensor | None, *_: None
) -> tuple[Tensor | None, ...]:
    """The gradients of the inputs, in their order."""
    if grad is None:
        return (None,) * 7
    query, key, value, scale, position, *kept = ctx.saved_tensors
    grad_query, grad_key, grad_value, grad_scale = (
        torch.ops.ivit.focused_attention_backward(
            grad,
            query,
            key,
            value,
            scale,
            ctx.num_heads,
            ctx.focusing_factor,
            position,
            *kept,
        )
    )
    grad_position = None
    if position is not None and ctx.needs_input_grad[6]:
        grad_position = grad_key.sum(0, keepdim=True, dtype=position.dtype)
    return (
        grad_query,
        grad_key,
        grad_value,
        grad_scale,
        None,
        None,
        grad_position,
    )


def _save_for_double_backward(
    ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]
) -> None:
    *tensors, ctx.num_heads, ctx.focusing_factor, position = inputs[:8]
    ctx.save_for_backward(*tensors, position)


def _double_backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
    """Second derivatives, by autograd through the formula."""
    grad, query, key, value, scale, position = ctx.saved_tensors
    table = key.new_zeros(1, 1, 1) if position is None else position

    def first_derivatives(
        grad: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: Tensor,
        table: Tensor,
    ) -> tuple[Tensor, ...]:
        def attend(
            query: Tensor, key: Tensor, value: Tensor, scale: Tensor
        ) -> Tensor:
            return naive.attention(
                query,
                key,
                value,
                scale,
                ctx.num_heads,
                ctx.focusing_factor,
                table,
                None,
            )

        return torch.func.vjp(attend, query, key, value, scale)[1](grad)

    with no_autocast(query):
        pull_back = torch.func.vjp(
            first_derivatives, grad, query, key, value, scale, table
        )[1]
        *second, second_table = pull_back(grads)
    if position is None:
        second_table = None
    # Of the inputs behind the position, the last three, nothing is asked.
    return *second, None, None, second_table, None, None, None


torch.library.register_autograd(
    'ivit::focused_attention', _backward, setup_context=_save_for_backward
)
torch.library.register_autograd(
    'ivit::focused_attention_backward',
    _double_backward,
    setup_context=_save_for_double_backward,
)
