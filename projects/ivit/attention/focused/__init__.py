# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Focused linear attention, arXiv 2308.00442: one operation.

:func:`focused_linear_attention` is the operation, and chooses among its
implementations. An implementation is a module with two functions:
``attention`` has the operation's arguments in the operation's order, and
``supports`` says for which tensors it is meant.

- ``naive``: the formula in PyTorch's operations, for any tensors;
- ``chunked``: chunks of tokens that stay in the caches of a CPU;
- ``triton``: kernels for NVIDIA GPUs.

Symbols as in the paper: M queries and N keys, h heads of d channels, C = h d,
Q, K, V the projected tokens, p the focusing factor, f_p the focused function,
DWC the depthwise convolution that restores the rank of the attention map.
What the published models have beyond the paper's equations (the learned
scale, the position table on K, the epsilons, norms over all heads together)
is marked "models"; docs/flatten.md lists it.

Every implementation computes in float32 or better: the power p multiplies the
relative error of its argument, and sums run over N tokens.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Protocol

import torch
from torch import Tensor

from ..precision import no_autocast
from . import chunked, naive

#: The environment variable that chooses the implementation of a process.
VARIABLE = 'IVIT_FOCUSED_ATTENTION'
NAMES = ('auto', 'triton', 'chunked', 'naive')


class Implementation(Protocol):
    """A module that computes focused linear attention."""

    def supports(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        num_heads: int,
        valid: Tensor | None,
    ) -> bool:
        """Whether the module is meant for these tensors."""

    def attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: Tensor,
        num_heads: int,
        focusing_factor: float,
        position: Tensor | None,
        valid: Tensor | None,
    ) -> Tensor:
        """See :func:`focused_linear_attention`."""


# In the order in which 'auto' asks them.
IMPLEMENTATIONS: dict[str, Implementation] = {}
if torch.cuda.is_available() and find_spec('triton'):
    from . import triton

    IMPLEMENTATIONS['triton'] = triton
IMPLEMENTATIONS['chunked'] = chunked
IMPLEMENTATIONS['naive'] = naive


def _check_name(name: str, source: str) -> str:
    if name not in NAMES:
        raise ValueError(f'{source}={name!r} must be one of {NAMES}.')
    return name


_chosen = _check_name(os.environ.get(VARIABLE, 'auto'), VARIABLE)


@contextmanager
def use_implementation(name: str) -> Iterator[None]:
    """Choose the implementation for as long as a ``with`` statement runs.

    The choice holds for all threads of the process. It comes before that of
    the environment variable ``IVIT_FOCUSED_ATTENTION``, which takes the same
    names.

    Args:
        name: ``'triton'``, ``'chunked'`` or ``'naive'``; ``'auto'`` takes the
            first of these that supports the tensors.

    Raises:
        ValueError: If the name is unknown.

    Example:
        >>> with use_implementation('naive'):
        ...     out = backbone(images)
    """
    global _chosen
    before, _chosen = _chosen, _check_name(name, 'name')
    try:
        yield
    finally:
        _chosen = before


def focused_linear_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: Tensor,
    num_heads: int,
    focusing_factor: float = 3,
    position: Tensor | None = None,
    valid: Tensor | None = None,
) -> Tensor:
    """Attention with ``phi_p(Q) phi_p(K)^T V`` for ``softmax(Q K^T) V``.

    For every head ``o_i = q_i (K^T V / N) / (q_i mean_j(k_j) + 1e-6)``
    (paper, Eq. 4, divided by N above and below): two matrix products of
    O(N C d), and nothing of size N x N. All of it is computed in float32 or
    better whatever comes in, so no sum over N can overflow.

    Args:
        query: Q, ``(B, M, C)``. Like K and V it may be a view whose channels
            lie side by side, such as a chunk of one projection.
        key: K, ``(B, N, C)``.
        value: V, ``(B, N, C)``.
        scale: Positive scale of the channels, ``(1, 1, C)``.
        num_heads: h; divides C.
        focusing_factor: p, at least 1.
        position: Position table that is added to K, ``(1, N, C)``, or None.
        valid: Which keys count, bool ``(B, N)``, at least one in every row;
            None if all do. The other keys change no bit of the result.

    Returns:
        ``(B, M, C)`` in the dtype of ``value``.

    Raises:
        ValueError: If an implementation is chosen by name that does not
            support these tensors.
    """
    with no_autocast(query):
        implementation = _choose(query, key, value, num_heads, valid)
        return implementation.attention(
            query,
            key,
            value,
            scale,
            num_heads,
            focusing_factor,
            position,
            valid,
        )


def _choose(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    num_heads: int,
    valid: Tensor | None,
) -> Implementation:
    """The implementation chosen by name, or the first that fits."""
    for name, implementation in IMPLEMENTATIONS.items():
        if _chosen in ('auto', name) and implementation.supports(
            query, key, value, num_heads, valid
        ):
            return implementation
    raise ValueError(
        f'{VARIABLE}={_chosen}, or use_implementation({_chosen!r}), but the '
        f'{_chosen} implementation of focused attention does not support '
        f'{query.dtype} on {query.device.type} with heads of '
        f'{query.shape[-1] // num_heads} channels and '
        f'{"no" if valid is None else "a"} mask of keys. Choose auto.'
    )
