# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Focused linear attention on CPUs, a chunk of tokens at a time.

The backward pass is written by hand. It computes the focused maps again,
which costs less than keeping them.

Symbols as in :mod:`ivit.attention.focused`. Let ``t = (ReLU(x) + 1e-6) /
scale`` and ``n = ||t||``, ``g`` be the gradient of ``phi`` and ``u = g . phi /
n^2``. Then the gradient of ``t`` is ``p (phi / t) (g - u phi) + u t``.
"""

from typing import Any

import torch
from torch import Tensor

from ..chunks import chunks, runs_in_chunks
from ..precision import at_least_float32, no_autocast
from ..tokens import merge_heads, split_heads
from . import naive
from .naive import EPS


def supports(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    num_heads: int,
    valid: Tensor | None,
) -> bool:
    """Tensors on a CPU, outside of graphs, whose keys all count."""
    return valid is None and runs_in_chunks(query)


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
    """See :func:`ivit.attention.focused_linear_attention`."""
    dtype = at_least_float32(query).dtype
    return ChunkedAttention.apply(
        query,
        key,
        value,
        scale.to(dtype),
        num_heads,
        focusing_factor,
        None if position is None else position.to(dtype),
    )[0]


class ChunkedAttention(torch.autograd.Function):
    """Focused linear attention of all keys, and its gradients.

    ``apply`` takes the arguments of ``attention`` up to ``position``. It
    returns the result, ``(B, M, C)``, and what the backward pass needs of the
    keys: ``kv = phi(K)^T V / N``, ``(B, h, d, d)``, and the mean of
    ``phi(K)``, ``(B, h, 1, d)``. The result alone has a gradient. Everything
    is computed in the dtype of ``scale``.
    """

    @staticmethod
    def forward(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: Tensor,
        num_heads: int,
        focusing_factor: float,
        position: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        batch, num_keys, dim = key.shape
        head_dim = dim // num_heads
        kv = scale.new_zeros(batch, num_heads, head_dim, head_dim)
        mean_k = scale.new_zeros(batch, num_heads, 1, head_dim)
        for images, tokens in chunks(*key.shape):
            x = _add_position(key[images, tokens], position, tokens)
            phi = ChunkOfFocusedMap(x, scale, focusing_factor).phi
            k = split_heads(phi, num_heads)  # (b, h, n, d)
            v = split_heads(value[images, tokens].to(scale.dtype), num_heads)
            kv[images] += k.transpose(-2, -1) @ v
            mean_k[images] += k.sum(-2, keepdim=True)
        kv /= num_keys
        mean_k /= num_keys

        out = value.new_empty(query.shape)
        for images, tokens in chunks(*query.shape):
            x = query[images, tokens]
            phi = ChunkOfFocusedMap(x, scale, focusing_factor).phi
            q = split_heads(phi, num_heads)  # (b, h, n, d)
            norm = (q * mean_k[images]).sum(-1, keepdim=True).add_(EPS)
            result = (q @ kv[images]).div_(norm)
            split_heads(out[images, tokens], num_heads).copy_(result)
        return out, kv, mean_k

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]
    ) -> None:
        """Keep the inputs, and of the outputs those that are small."""
        *tensors, ctx.num_heads, ctx.focusing_factor, position = inputs
        _, kv, mean_k = output
        ctx.mark_non_differentiable(kv, mean_k)
        ctx.save_for_backward(*tensors, position, kv, mean_k)

    @staticmethod
    def backward(
        ctx: Any, grad_out: Tensor, *_: None
    ) -> tuple[Tensor | None, ...]:
        """Gradients in the order of the arguments."""
        query, key, value, scale, position, kv, mean_k = ctx.saved_tensors
        inputs = (query, key, value, scale, position)
        with no_autocast(grad_out):
            if torch.is_grad_enabled():  # the gradients need gradients
                *grads, grad_position = _differentiable_gradients(
                    *inputs, ctx.num_heads, ctx.focusing_factor, grad_out
                )
            else:
                *grads, grad_position = _gradients(
                    *inputs,
                    ctx.num_heads,
                    ctx.focusing_factor,
                    kv,
                    mean_k,
                    grad_out,
                )
        return *grads, None, None, grad_position


class ChunkOfFocusedMap:
    """The focused map ``phi`` of a chunk of tokens, and its gradient.

    Args:
        x: Tokens ``(b, n, C)``, with their positions added.
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
            grad: The gradient of ``phi``, ``(b, n, C)``; overwritten.
            grad_log_t: The gradient of log t summed over tokens, ``(C,)``;
                the share of this chunk is added to it.

        Returns:
            ``(b, n, C)``.
        """
        phi, t = self.phi, self.t
        u = (grad * phi).sum(-1, keepdim=True).div_(self.length.square())
        grad.addcmul_(phi, u / self.largest.square(), value=-1)
        grad.mul_(phi).mul_(self.focusing_factor).addcmul_(t.square(), u)
        grad_log_t += grad.sum((0, 1))
        grad.div_(t).div_(self.largest).div_(self.scale)
        return grad.mul_(self.x > 0)


def _add_position(x: Tensor, position: Tensor | None, tokens: slice) -> Tensor:
    """A chunk of K with its rows of the position table."""
    return x if position is None else x + position[:, tokens]


def _gradients(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: Tensor,
    position: Tensor | None,
    num_heads: int,
    focusing_factor: float,
    kv: Tensor,
    mean_k: Tensor,
    grad_out: Tensor,
) -> tuple[Tensor | None, ...]:
    """The gradients of Q, K, V, the scale and the position table."""
    grad_query = query.new_empty(query.shape)
    grad_kv = torch.zeros_like(kv)
    grad_mean_k = torch.zeros_like(mean_k)
    grad_log_t = torch.zeros_like(scale[0, 0])
    for images, tokens in chunks(*query.shape):
        chunk = ChunkOfFocusedMap(
            query[images, tokens], scale, focusing_factor
        )
        q = split_heads(chunk.phi, num_heads)  # (b, h, n, d)
        grad = split_heads(grad_out[images, tokens].to(scale.dtype), num_heads)
        norm = (q * mean_k[images]).sum(-1, keepdim=True).add_(EPS)
        grad = grad / norm
        grad_phi = grad @ kv[images].transpose(-2, -1)
        grad_norm = (grad_phi * q).sum(-1, keepdim=True).div_(norm).neg_()
        grad_phi.addcmul_(grad_norm, mean_k[images])
        grad_kv[images] += q.transpose(-2, -1) @ grad
        grad_mean_k[images] += (grad_norm * q).sum(-2, keepdim=True)
        grad_query[images, tokens] = chunk.backward(
            merge_heads(grad_phi), grad_log_t
        )

    grad_kv /= key.shape[1]
    grad_mean_k /= key.shape[1]
    grad_key = key.new_empty(key.shape)
    grad_value = value.new_empty(value.shape)
    grad_position = None
    if position is not None:
        grad_position = torch.zeros_like(position)
    for images, tokens in chunks(*key.shape):
        x = _add_position(key[images, tokens], position, tokens)
        chunk = ChunkOfFocusedMap(x, scale, focusing_factor)
        k = split_heads(chunk.phi, num_heads)  # (b, h, n, d)
        v = split_heads(value[images, tokens].to(scale.dtype), num_heads)
        grad_phi = v @ grad_kv[images].transpose(-2, -1)
        grad_phi += grad_mean_k[images]
        result = k @ grad_kv[images]
        split_heads(grad_value[images, tokens], num_heads).copy_(result)
        grad = chunk.backward(merge_heads(grad_phi), grad_log_t)
        grad_key[images, tokens] = grad
        if grad_position is not None:
            grad_position[:, tokens] += grad.sum(0, keepdim=True)
    grad_scale = -grad_log_t / scale
    return grad_query, grad_key, grad_value, grad_scale, grad_position


def _differentiable_gradients(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: Tensor,
    position: Tensor | None,
    num_heads: int,
    focusing_factor: float,
    grad_out: Tensor,
) -> list[Tensor | None]:
    """The same gradients, by autograd through the formula.

    These can be differentiated again. An input that needs no gradient has
    None.
    """
    inputs = [query, key, value, scale, position]
    wanted = {
        i: x for i, x in enumerate(inputs) if x is not None and x.requires_grad
    }
    out = naive.attention(
        query, key, value, scale, num_heads, focusing_factor, position, None
    )
    found = torch.autograd.grad(
        out, list(wanted.values()), grad_out, create_graph=True
    )
    grads: list[Tensor | None] = [None] * len(inputs)
    for i, grad in zip(wanted, found, strict=True):
        grads[i] = grad
    return grads
