# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Learned position tables on maps of any size."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import widen
from .symbolic import same_size


def resize_table(
    table: Tensor, grid_size: tuple[int, int], hw_shape: tuple[int, int]
) -> Tensor:
    """Interpolate a position table to another grid.

    Bicubic and not anti-aliased, as the FLatten authors resize theirs from
    224 to 384 pixels. A table that has the size already is returned as it is.

    Args:
        table: ``(1, N, C)``, row-major over ``grid_size``.
        grid_size: Height and width of the table's grid.
        hw_shape: Height and width wanted.

    Returns:
        ``(1, H W, C)``.
    """
    if same_size(grid_size, hw_shape):
        return table
    maps = table.transpose(1, 2).unflatten(2, grid_size)
    maps = F.interpolate(widen(maps), hw_shape, mode='bicubic')
    return maps.to(table.dtype).flatten(2).transpose(1, 2)


def may_be_kept() -> bool:
    """Whether what is computed now may serve later calls.

    Not while a graph is made, which computes for itself, nor where tensors
    have no numbers, as under ``FakeTensorMode``.
    """
    return not (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or type(torch.empty(0)) is not Tensor
    )


class ResizedTable:
    """Resizes a position table and keeps the result at inference.

    One size is kept: images of a data set come in few shapes, most of them
    more than once in a row. While gradients are on nothing is kept. Call
    :meth:`clear` where the owner changes its mode, since some updates, such
    as those through ``parameter.data``, cannot be seen here.
    """

    def __init__(self) -> None:
        self.clear()

    def __call__(
        self,
        table: Tensor,
        grid_size: tuple[int, int],
        hw_shape: tuple[int, int],
    ) -> Tensor:
        """See :func:`resize_table`."""
        if same_size(grid_size, hw_shape):
            return table
        if (
            torch.is_grad_enabled()
            or not may_be_kept()
            or table.is_inference()
        ):
            return resize_table(table, grid_size, hw_shape)
        key = (
            tuple(grid_size),
            tuple(hw_shape),
            table.data_ptr(),
            table._version,
            table.dtype,
            table.device,
        )
        kept = self._kept  # read once: threads may share a model
        if kept is None or kept[0] != key:
            resized = resize_table(table, grid_size, hw_shape)
            # While the table's memory is held no other comes to lie there.
            kept = self._kept = (key, table.detach(), resized)
        return kept[2]

    def clear(self) -> None:
        """Forget the size kept."""
        self._kept: tuple[tuple, Tensor, Tensor] | None = None

    def __getstate__(self) -> dict[str, None]:
        # Copies and pickles of a model have no use for what is kept.
        return dict.fromkeys(vars(self))
