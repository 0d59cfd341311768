# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Focused linear attention on CPUs, a block of tokens at a time.

The backward pass is written out by hand and computes the focused maps again,
which costs less than keeping them.

Symbols are those of ``focused.py``. With ``t = (ReLU(x) + 1e-6) / scale``,
``n = ||t||`` and ``g`` the gradient of ``phi``, and ``u = g . phi / n^2``,
the gradient of ``t`` is ``p (phi / t) (g - u phi) + u t``.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .blocks import blocks
from .focused_eager import EPS, attend_eagerly
from .precision import no_autocast
from .tokens import merge_heads, split_heads


def add_position(
    x: Tensor, position: Tensor | None, at: tuple[slice, slice]
) -> Tensor:
    """A block of K with its part of the position table."""
    return x if position is None else x + position[:, at[1]]


class FocusedBlock:
    """The focused map ``phi`` of a block of tokens, and its gradient.

    Args:
        x: Tokens ``(b, n, C)``, their position added.
        scale: Positive, ``(1, 1, C)``, in the dtype to compute in.
        focusing_factor: p.
    """

    def __init__(
        self, x: Tensor, scale: Tensor, focusing_factor: float
    ) -> None:
        self.x, self.scale, self.focusing_factor = x, scale, focusing_factor
        t = x.clamp_min(0).to(scale.dtype).add_(EPS).div_(scale)
        # As in focused_map, t is divided by its largest against overflow.
        self.largest = t.amax(-1, keepdim=True)
        self.t = t.div_(self.largest)
        self.length = t.norm(dim=-1, keepdim=True)
        phi = t**focusing_factor
        ratio = self.length / phi.norm(dim=-1, keepdim=True)
        self.phi = phi.mul_(ratio.mul_(self.largest))

    def backward(self, grad: Tensor, grad_log_t: Tensor) -> Tensor:
        """The gradient of ``x``.

        Args:
            grad: That of ``phi``, ``(b, n, C)``; overwritten.
            grad_log_t: ``(C,)``, the gradient of log t summed over tokens;
                the block's share is added.
        """
        phi, t = self.phi, self.t
        u = (grad * phi).sum(-1, keepdim=True).div_(self.length.square())
        grad.addcmul_(phi, u / self.largest.square(), value=-1)
        grad.mul_(phi).mul_(self.focusing_factor).addcmul_(t.square(), u)
        grad_log_t += grad.sum((0, 1))
        grad.div_(t).div_(self.largest).div_(self.scale)
        return grad.mul_(self.x > 0)


class FocusedInBlocks(torch.autograd.Function):
    """:func:`.focused.focused_linear_attention` with its gradients.

    ``apply(query, key, value, scale, position, num_heads, focusing_factor)``
    returns the result, ``K^T V / N`` and the mean of K, of which the first
    alone has a gradient. Everything is computed in the dtype of ``scale``.
    """

    @staticmethod
    def forward(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: Tensor,
        position: Tensor | None,
        num_heads: int,
        focusing_factor: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Shapes are those of :func:`.focused.focused_linear_attention`."""
        batch, tokens, width = key.shape
        head_dim = width // num_heads
        summary = scale.new_zeros(batch, num_heads, head_dim, head_dim)
        mean_k = scale.new_zeros(batch, num_heads, 1, head_dim)
        for at in blocks(*key.shape):
            x = add_position(key[at], position, at)
            k = split_heads(
                FocusedBlock(x, scale, focusing_factor).phi, num_heads
            )
            v = split_heads(value[at].to(scale.dtype), num_heads)
            summary[at[0]] += k.transpose(-2, -1) @ v
            mean_k[at[0]] += k.sum(-2, keepdim=True)
        summary /= tokens
        mean_k /= tokens

        out = value.new_empty(query.shape)
        for at in blocks(*query.shape):
            q = split_heads(
                FocusedBlock(query[at], scale, focusing_factor).phi, num_heads
            )
            norm = (q * mean_k[at[0]]).sum(-1, keepdim=True).add_(EPS)
            result = (q @ summary[at[0]]).div_(norm)
            split_heads(out[at], num_heads).copy_(result)
        return out, summary, mean_k

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]
    ) -> None:
        """Keep the inputs, and of the results what is small."""
        *tensors, ctx.num_heads, ctx.focusing_factor = inputs
        _, summary, mean_k = output
        ctx.mark_non_differentiable(summary, mean_k)
        ctx.save_for_backward(*tensors, summary, mean_k)

    @staticmethod
    def backward(
        ctx: Any, grad_out: Tensor, *_: None
    ) -> tuple[Tensor | None, ...]:
        """Gradients in the order of the arguments."""
        *inputs, summary, mean_k = ctx.saved_tensors
        settings = (ctx.num_heads, ctx.focusing_factor)
        with no_autocast(grad_out):
            if torch.is_grad_enabled():  # they are to have gradients
                grads = differentiable_grads(
                    lambda query, key, value, scale, position: attend_eagerly(
                        query, key, value, scale, *settings, position=position
                    ),
                    inputs,
                    grad_out,
                )
            else:
                grads = gradients(
                    *inputs, *settings, summary, mean_k, grad_out
                )
        return *grads, None, None


def gradients(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: Tensor,
    position: Tensor | None,
    num_heads: int,
    focusing_factor: float,
    summary: Tensor,
    mean_k: Tensor,
    grad_out: Tensor,
) -> tuple[Tensor | None, ...]:
    """Those of the five tensors."""
    grad_query = query.new_empty(query.shape)
    grad_summary = torch.zeros_like(summary)
    grad_mean_k = torch.zeros_like(mean_k)
    grad_log_t = torch.zeros_like(scale[0, 0])
    for at in blocks(*query.shape):
        block = FocusedBlock(query[at], scale, focusing_factor)
        q = split_heads(block.phi, num_heads)
        grad = split_heads(grad_out[at].to(scale.dtype), num_heads)
        norm = (q * mean_k[at[0]]).sum(-1, keepdim=True).add_(EPS)
        grad = grad / norm
        grad_phi = grad @ summary[at[0]].transpose(-2, -1)
        grad_norm = (grad_phi * q).sum(-1, keepdim=True).div_(norm).neg_()
        grad_phi.addcmul_(grad_norm, mean_k[at[0]])
        grad_summary[at[0]] += q.transpose(-2, -1) @ grad
        grad_mean_k[at[0]] += (grad_norm * q).sum(-2, keepdim=True)
        grad_query[at] = block.backward(merge_heads(grad_phi), grad_log_t)

    grad_summary /= key.shape[1]
    grad_mean_k /= key.shape[1]
    grad_key = key.new_empty(key.shape)
    grad_value = value.new_empty(value.shape)
    grad_position = None
    if position is not None:
        grad_position = torch.zeros_like(position)
    for at in blocks(*key.shape):
        block = FocusedBlock(
            add_position(key[at], position, at), scale, focusing_factor
        )
        k = split_heads(block.phi, num_heads)
        v = split_heads(value[at].to(scale.dtype), num_heads)
        grad_phi = v @ grad_summary[at[0]].transpose(-2, -1)
        grad_phi += grad_mean_k[at[0]]
        result = k @ grad_summary[at[0]]
        split_heads(grad_value[at], num_heads).copy_(result)
        grad = block.backward(merge_heads(grad_phi), grad_log_t)
        grad_key[at] = grad
        if grad_position is not None:
            grad_position[:, at[1]] += grad.sum(0, keepdim=True)
    grad_scale = -grad_log_t / scale
    return grad_query, grad_key, grad_value, grad_scale, grad_position


def differentiable_grads(
    formula: Callable[..., Tensor],
    inputs: Sequence[Tensor | None],
    grad_out: Tensor,
) -> list[Tensor | None]:
    """Gradients that have gradients themselves, by autograd.

    Args:
        formula: Of ``inputs``, in operations that autograd knows.
        inputs: Tensors with or without gradients.
        grad_out: Of the result.

    Returns:
        One for each input, None where it has no gradient.
    """
    wanted = [i for i, x in enumerate(inputs) if x is not None]
    wanted = [i for i in wanted if inputs[i].requires_grad]
    grads: list[Tensor | None] = [None] * len(inputs)
    found = torch.autograd.grad(
        formula(*inputs),
        [inputs[i] for i in wanted],
        grad_out,
        create_graph=True,
    )
    for i, grad in zip(wanted, found, strict=True):
        grads[i] = grad
    return grads


def attend_in_blocks(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: Tensor,
    num_heads: int,
    focusing_factor: float,
    position: Tensor | None,
) -> Tensor:
    """:func:`.focused.focused_linear_attention` in the dtype of ``scale``."""
    return FocusedInBlocks.apply(
        query, key, value, scale, position, num_heads, focusing_factor
    )[0]
