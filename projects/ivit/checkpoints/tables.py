# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Resize the position tables of a checkpoint to those of a backbone.

The FLatten authors do this for models trained at 224 and fine-tuned at 384
pixels; here it works between any two sizes.
"""

import re
from collections.abc import Mapping
from math import isqrt

from torch import Tensor

from ..attention import resize_table

POSITION_TABLES = r'(.*\.)?(positional_encoding|(absolute_)?pos_embed\d*)'
BIAS_TABLES = r'(.*\.)?relative_position_bias_table'


def fit_tables(
    given: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Interpolate the position tables whose grids differ.

    A position table ``(1, N, C)`` lies on a square grid of side sqrt(N). A
    table of relative position biases ``(N, h)`` lies on the square grid of
    the N = (2 w - 1)^2 offsets in a window of side w. A table of the
    backbone's size is not changed, even if its grid is not square.

    Args:
        given: The tensors of a checkpoint.
        own: The tensors of the backbone, by the same names.

    Returns:
        The checkpoint's tensors with resized tables, and the names of the
        resized tables.

    Raises:
        ValueError: If a table that has to be resized is not on a square grid.
    """
    fitted, resized = dict(given), []
    for name, table in given.items():
        wanted = getattr(own.get(name), 'shape', table.shape)
        if table.shape == wanted or table.dim() != len(wanted):
            continue
        if re.fullmatch(POSITION_TABLES, name) and (
            table.shape[::2] == wanted[::2]  # only N differs
        ):
            old_grid = _find_square_grid(name, table.shape[1])
            new_grid = _find_square_grid(name, wanted[1])
            fitted[name] = resize_table(table, old_grid, new_grid)
        elif re.fullmatch(BIAS_TABLES, name) and table.shape[1] == wanted[1]:
            old_grid = _find_square_grid(name, table.shape[0])
            new_grid = _find_square_grid(name, wanted[0])
            fitted[name] = resize_table(table[None], old_grid, new_grid)[0]
        else:
            continue  # another width cannot be interpolated
        resized.append(name)
    return fitted, resized


def _find_square_grid(name: str, length: int) -> tuple[int, int]:
    """Height and width of the square grid that a table lies on."""
    side = isqrt(length)
    if side < 1 or side**2 != length:
        raise ValueError(
            f'{name} has {length} entries, which lie on no square grid, so it '
            'cannot be resized between the checkpoint and this backbone. '
            'Build the backbone with the img_size and the tile_size of the '
            'checkpoint. Nothing was loaded.'
        )
    return side, side
