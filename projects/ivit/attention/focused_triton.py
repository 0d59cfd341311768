# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Focused linear attention in Triton kernels, for NVIDIA GPUs.

Nothing of the size of the tokens is kept for the backward pass but Q, K and
V themselves and three numbers per token. The kernels lie behind two custom
operators, so ``torch.compile`` sees one node where the attention is, for maps
of any size.
"""

import torch
from torch import Size, Tensor
from torch.autograd.function import FunctionCtx
from torch.utils.flop_counter import register_flop_formula

from .focused_eager import attend_eagerly
from .focused_launch import launch_backward, launch_forward
from .precision import no_autocast

_INPUTS = (
    'Tensor query, Tensor key, Tensor? position, Tensor value, '
    'Tensor scale, int num_heads, float focusing_factor'
)
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# With 128, which no published model has, the kernels outgrow the registers.
HEAD_WIDTHS = (16, 32, 64)
MOST_CHANNELS = 1024


@torch.compiler.assume_constant_result
def _has_tf32(device: torch.device) -> bool:
    """Whether the GPU is of Ampere's generation or later."""
    return torch.cuda.get_device_capability(device) >= (8, 0)


def supported(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    num_heads: int,
    valid: Tensor | None = None,
) -> bool:
    """Whether the kernels can do what the formula can.

    Args:
        query: Q, ``(B, M, C)``.
        key: K, ``(B, N, C)``.
        value: V, ``(B, N, C)``.
        num_heads: h; divides C.
        valid: Which keys count; must be None.
    """
    tokens = (query, key, value)
    return (
        valid is None
        and all(x.is_cuda and x.dtype in DTYPES for x in tokens)
        and all(x.shape[0] > 0 and x.shape[1] > 0 for x in tokens)
        and query.shape[-1] <= MOST_CHANNELS
        and query.shape[-1] // num_heads in HEAD_WIDTHS
        and _has_tf32(query.device)
    )


torch.library.define(
    'ivit::focused_attention',
    f'({_INPUTS}) -> (Tensor, Tensor, Tensor, Tensor)',
)
torch.library.define(
    'ivit::focused_attention_backward',
    f'(Tensor grad, {_INPUTS}, Tensor summary, Tensor query_rows, '
    'Tensor key_rows) -> (Tensor, Tensor, Tensor, Tensor)',
)
torch.library.impl('ivit::focused_attention', 'default', launch_forward)
torch.library.impl(
    'ivit::focused_attention_backward', 'default', launch_backward
)


@torch.library.register_fake('ivit::focused_attention')
def _(
    query: Tensor,
    key: Tensor,
    position: Tensor | None,
    value: Tensor,
    scale: Tensor,
    num_heads: int,
    focusing_factor: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, queries, channels = query.shape
    width = channels // num_heads
    numbers = scale.new_empty(0, dtype=torch.float32)
    return (
        value.new_empty(query.shape),
        numbers.new_empty(batch, num_heads, width + 1, width),
        numbers.new_empty(batch, 3, queries),
        numbers.new_empty(batch, 3, key.shape[1]),
    )


@torch.library.register_fake('ivit::focused_attention_backward')
def _(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    position: Tensor | None,
    value: Tensor,
    scale: Tensor,
    *rest: int | float | Tensor,
) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in (query, key, value, scale))


def _macs(query: Size, key: Size, num_heads: int) -> int:
    """Of the formula's two matrix products."""
    batch, queries, channels = query
    return batch * (queries + key[1]) * channels * (channels // num_heads)


@register_flop_formula(torch.ops.ivit.focused_attention)
def _flops(
    query: Size,
    key: Size,
    position: Size | None,
    value: Size,
    scale: Size,
    num_heads: int,
    focusing_factor: float,
    *,
    out_shape: tuple[Size, ...],
) -> int:
    return 2 * _macs(query, key, num_heads)


@register_flop_formula(torch.ops.ivit.focused_attention_backward)
def _backward_flops(
    grad: Size, *inputs: Size | float, out_shape: tuple[Size, ...]
) -> int:
    return 4 * _macs(inputs[0], inputs[1], inputs[5])


def _keep(ctx: FunctionCtx, inputs: tuple, output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.num_heads, ctx.focusing_factor = inputs
    ctx.save_for_backward(*tensors, *output[1:])
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)


def _differentiate(
    ctx: FunctionCtx, grad: Tensor | None, *_: None
) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 7
    *inputs, summary, query_rows, key_rows = ctx.saved_tensors
    grad_query, grad_key, grad_value, grad_scale = (
        torch.ops.ivit.focused_attention_backward(
            grad,
            *inputs,
            ctx.num_heads,
            ctx.focusing_factor,
            summary,
            query_rows,
            key_rows,
        )
    )
    position, grad_position = inputs[2], None
    if position is not None and ctx.needs_input_grad[2]:
        grad_position = grad_key.sum(0, keepdim=True, dtype=position.dtype)
    return (
        grad_query,
        grad_key,
        grad_position,
        grad_value,
        grad_scale,
        None,
        None,
    )


def _keep_again(
    ctx: FunctionCtx, inputs: tuple, output: tuple[Tensor, ...]
) -> None:
    ctx.num_heads, ctx.focusing_factor = inputs[6:8]
    ctx.save_for_backward(*inputs[:6])


def _differentiate_again(
    ctx: FunctionCtx, *grads: Tensor
) -> tuple[Tensor | None, ...]:
    """Second derivatives, by autograd through the formula."""
    grad, query, key, position, value, scale = ctx.saved_tensors
    table = key.new_zeros(1, 1, 1) if position is None else position

    def gradients(
        grad: Tensor,
        query: Tensor,
        key: Tensor,
        table: Tensor,
        value: Tensor,
        scale: Tensor,
    ) -> tuple[Tensor, ...]:
        def attend(
            query: Tensor, key: Tensor, value: Tensor, scale: Tensor
        ) -> Tensor:
            return attend_eagerly(
                query,
                key,
                value,
                scale,
                ctx.num_heads,
                ctx.focusing_factor,
                position=table,
            )

        return torch.func.vjp(attend, query, key, value, scale)[1](grad)

    with no_autocast(query):
        _, pull = torch.func.vjp(
            gradients, grad, query, key, table, value, scale
        )
        seconds = list(pull(grads))
    if position is None:
        seconds[3] = None
    return *seconds, *(None,) * 5


torch.library.register_autograd(
    'ivit::focused_attention', _differentiate, setup_context=_keep
)
torch.library.register_autograd(
    'ivit::focused_attention_backward',
    _differentiate_again,
    setup_context=_keep_again,
)


def fused_focused_attention(
    query: Tensor,
    key: Tensor,
    position: Tensor | None,
    value: Tensor,
    scale: Tensor,
    num_heads: int,
    focusing_factor: float = 3,
) -> Tensor:
    """Focused linear attention, in kernels.

    Gradients of first order come from kernels, those of higher order from
    the formula. For what :func:`supported` is true of.

    Args:
        query: Q, ``(B, M, C)``; like all tokens, it may be a view with the
            channels of a token side by side, such as a chunk of Q, K and V.
        key: K, ``(B, N, C)``.
        position: The position of every key, ``(1, N, C)``, or None.
        value: V, ``(B, N, C)``.
        scale: Positive scale of the channels, ``(1, 1, C)``.
        num_heads: h; divides C.
        focusing_factor: p, at least 1.

    Returns:
        ``(B, M, C)`` in the dtype of ``value``.
    """
    return torch.ops.ivit.focused_attention(
        query, key, position, value, scale, num_heads, float(focusing_factor)
    )[0]
