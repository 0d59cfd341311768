# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Bring position tables of a checkpoint to the size a backbone has them in.

What the FLatten authors do from 224 to 384 pixels, done for every size.
"""

import re
from collections.abc import Mapping
from math import isqrt

from torch import Tensor

from ..attention import resize_table

POSITIONS = r'(.*\.)?(positional_encoding|(absolute_)?pos_embed\d*)'
BIASES = r'(.*\.)?relative_position_bias_table'


def fit_tables(
    given: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Interpolate the position tables whose grids differ.

    Position tables ``(1, N, C)`` lie on square grids of side sqrt(N),
    relative position biases ``(N, h)`` on those of the (2 w - 1)^2 offsets in
    a window of side w. Tables of the right size stay as they are, whatever
    their grid.

    Args:
        given: The tensors of a checkpoint.
        own: Those of the backbone, by the same names.

    Returns:
        The tensors with tables resized, and the names of these.

    Raises:
        ValueError: If a table that has to be resized is not on a square grid.
    """
    fitted, resized = dict(given), []
    for name, table in given.items():
        wanted = getattr(own.get(name), 'shape', table.shape)
        if table.shape == wanted or table.dim() != len(wanted):
            continue
        if re.fullmatch(POSITIONS, name) and (
            table.shape[::2] == wanted[::2]  # but for their length alike
        ):
            grids = _side(name, table.shape[1]), _side(name, wanted[1])
            fitted[name] = resize_table(table, *grids)
        elif re.fullmatch(BIASES, name) and table.shape[1] == wanted[1]:
            grids = _side(name, table.shape[0]), _side(name, wanted[0])
            fitted[name] = resize_table(table[None], *grids)[0]
        else:
            continue  # of another width: not a matter of size
        resized.append(name)
    return fitted, resized


def _side(name: str, length: int) -> tuple[int, int]:
    side = isqrt(length)
    if side < 1 or side**2 != length:
        raise ValueError(
            f'{name} has {length} entries, which lie on no square grid, so it '
            'cannot be resized between the checkpoint and this backbone. '
            'Build the backbone with the img_size and the tile_size of the '
            'checkpoint. Nothing was loaded.'
        )
    return side, side
