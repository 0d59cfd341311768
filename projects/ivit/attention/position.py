# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Learned position tables on maps of any size."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.onnx import is_in_onnx_export

from .precision import at_least_float32
from .resample import cubic_weights, resample
from .symbolic import same_size


def resize_table(
    table: Tensor, grid_size: tuple[int, int], hw_shape: tuple[int, int]
) -> Tensor:
    """Interpolate a position table to another grid.

    The interpolation is bicubic and not anti-aliased, as the FLatten authors
    resize their tables from 224 to 384 pixels. A table that has the size
    already is returned as it is.

    Args:
        table: ``(1, N, C)``, row-major over ``grid_size``.
        grid_size: Height and width of the table's grid.
        hw_shape: Height and width wanted.

    Returns:
        ``(1, H W, C)``.
    """
    if same_size(grid_size, hw_shape):
        return table
    if is_in_onnx_export():  # runtimes are slow to resize so many channels
        weights = (
            cubic_weights(size, new_size, table.device)
            for size, new_size in zip(grid_size, hw_shape, strict=True)
        )
        maps = at_least_float32(table).unflatten(1, grid_size)
        return resample(maps, *weights).to(table.dtype).flatten(1, 2)
    maps = table.transpose(1, 2).unflatten(2, grid_size)  # (1, C, h, w)
    maps = F.interpolate(at_least_float32(maps), hw_shape, mode='bicubic')
    return maps.to(table.dtype).flatten(2).transpose(1, 2)  # (1, H W, C)


def can_cache_results() -> bool:
    """Whether a tensor that is computed now may serve later calls.

    It may not while a graph is made, since the graph has to compute it, nor
    under ``FakeTensorMode``, where tensors have no numbers.
    """
    return not (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or type(torch.empty(0)) is not Tensor
    )


class ResizedTable:
    """Resizes a position table, and keeps the result for inference.

    The last size is kept: the images of a data set come in few sizes, and
    neighbours often share one. Nothing is kept while gradients are on. The
    owner calls :meth:`clear` when its mode changes, since some changes of the
    table, such as those through ``parameter.data``, cannot be noticed here.
    """

    _kept: tuple[tuple, Tensor, Tensor] | None

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
            or not can_cache_results()
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
            # Holding on to the table keeps its memory from being given to
            # another tensor, whose address would then match the key.
            kept = self._kept = (key, table.detach(), resized)
        return kept[2]

    def clear(self) -> None:
        """Forget the size kept."""
        self._kept = None

    def __getstate__(self) -> dict[str, None]:
        # Copies and pickles of a model do not need what is kept.
        return dict.fromkeys(vars(self))
