# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Activation checkpointing of a block, batch norms included."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recompute(block: nn.Module, x: Tensor, *args: object) -> Tensor:
    """Run ``block``, keeping its input alone for the backward pass.

    Results, gradients and batch-norm statistics are those of
    ``block(x, *args)``.

    Args:
        block: Module that maps one tensor.
        x: The tensor, of any shape.
        args: What else the block takes, without a gradient.
    """
    if torch.compiler.is_compiling():
        # A graph updates the statistics once, whatever is computed again.
        return checkpoint(block, x, *args, use_reentrant=False)
    return checkpoint(
        block,
        x,
        *args,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), _statistics_kept(block)),
    )


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Stop batch norms from counting the batch a second time."""
    norms = [
        (norm, norm.momentum, count, count.clone())
        for norm in block.modules()
        if isinstance(norm, _BatchNorm)
        and (count := norm.num_batches_tracked) is not None
    ]
    for norm, *_ in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count, before in norms:
            norm.momentum = momentum
            count.copy_(before)
