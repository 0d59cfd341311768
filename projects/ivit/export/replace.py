# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Modules of the frameworks that tie a graph to the size it was made with."""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ..attention.resample import pooling_weights
from ..nested import as_list


class AdaptiveMean(nn.Module):
    """``nn.AdaptiveAvgPool2d`` as products with two matrices."""

    def __init__(self, pool: nn.AdaptiveAvgPool2d) -> None:
        super().__init__()
        rows, columns = (as_list(pool.output_size) * 2)[:2]
        self.grid = (rows, columns)

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C, *grid)``."""
        rows, columns = (
            pooling_weights(size, bins, maps.device).to(maps.dtype)
            for size, bins in zip(maps.shape[2:], self.grid, strict=True)
        )
        return rows @ maps @ columns.transpose(0, 1)


class WholeUpsample(nn.Module):
    """mmseg's ``Upsample`` by a whole factor, in whole numbers."""

    def __init__(self, upsample: Any) -> None:
        super().__init__()
        self.factor = int(upsample.scale_factor)
        self.mode = upsample.mode
        self.align_corners = upsample.align_corners

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C, factor H, factor W)``."""
        size = [side * self.factor for side in maps.shape[2:]]
        return F.interpolate(
            maps, size, mode=self.mode, align_corners=self.align_corners
        )


def _is_adaptive(module: nn.Module) -> bool:
    """Whether a pool makes several cells; a single one is a plain mean."""
    if type(module) is not nn.AdaptiveAvgPool2d:
        return False
    return set(as_list(module.output_size)) != {1}


def _is_whole_upsample(module: nn.Module) -> bool:
    if type(module).__module__ != 'mmseg.models.utils.wrappers':
        return False
    factor = getattr(module, 'scale_factor', None)
    return isinstance(factor, float) and factor.is_integer()


REPLACEMENTS: tuple[
    tuple[Callable[[nn.Module], bool], Callable[..., nn.Module]], ...
] = (
    (_is_adaptive, AdaptiveMean),
    (_is_whole_upsample, WholeUpsample),
)


def replace_modules(model: nn.Module) -> None:
    """Replace modules by ones that serve images of any size, in place."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            for is_one, replacement in REPLACEMENTS:
                if is_one(child):
                    setattr(parent, name, replacement(child))
