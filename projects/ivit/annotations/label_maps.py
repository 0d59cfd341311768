# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""From what the pixels of a label map store to indices of classes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

#: The index of pixels that are left out of training and evaluation.
IGNORED = 255

Color: TypeAlias = tuple[int, int, int]


@dataclass
class LabelEncoding:
    """How label maps store classes: as numbers or as colours.

    Attributes:
        values: The index of each number that is stored; :data:`IGNORED` for
            those to leave out.
        colors: The same for each RGB colour, if the maps store colours. With
            it, ``values`` is not used.
    """

    values: Mapping[int, int] = field(default_factory=dict)
    colors: Mapping[Color, int] | None = None

    @property
    def is_identity(self) -> bool:
        """Whether the files have the indices as they are."""
        return self.colors is None and all(
            value == index for value, index in self.values.items()
        )

    def decode(self, path: Path) -> tuple[np.ndarray, list[int | Color]]:
        """Read a label map.

        Args:
            path: An image of one channel or with a palette, whose numbers
                are taken; or, with ``colors``, one of any mode.

        Returns:
            Indices ``(H, W)``, uint8, with :data:`IGNORED` where a value is
            not known; and the unknown values.

        Raises:
            ValueError: If numbers are expected and the file has colours.
            OSError: If the file cannot be read.
        """
        stored = read_stored(path, self.colors is not None)
        table: Mapping = self.values if self.colors is None else self.colors
        codes = stored
        if stored.ndim == 3:
            codes = pack_colors(stored)
            table = {pack_color(c): index for c, index in table.items()}
        # One pass over the values that occur, not over the pixels.
        found, where = np.unique(codes, return_inverse=True)
        indices = np.array(
            [table.get(int(code), IGNORED) for code in found], np.uint8
        )
        unknown = [
            unpack_color(int(code)) if stored.ndim == 3 else int(code)
            for code in found
            if int(code) not in table
        ]
        return indices[where].reshape(codes.shape), unknown


def read_stored(path: Path, as_colors: bool) -> np.ndarray:
    """What a label map stores.

    Returns:
        ``(H, W)`` numbers, or ``(H, W, 3)`` colours.

    Raises:
        ValueError: If numbers are wanted and the file has colours.
        OSError: If the file cannot be read.
    """
    with Image.open(path) as image:
        if as_colors:
            return np.asarray(image.convert('RGB'))
        if len(image.getbands()) > 1:
            raise ValueError(
                f'{path} has {len(image.getbands())} channels ({image.mode}); '
                'a label map of class numbers has one'
            )
        return np.asarray(image)


def pack_colors(rgb: np.ndarray) -> np.ndarray:
    """``(H, W, 3)`` colours as ``(H, W)`` numbers, red first."""
    red, green, blue = np.moveaxis(rgb.astype(np.int64), -1, 0)
    return (red << 16) | (green << 8) | blue


def pack_color(color: Color) -> int:
    """A colour as a number."""
    return (color[0] << 16) | (color[1] << 8) | color[2]


def unpack_color(code: int) -> Color:
    """The colour of a number."""
    return code >> 16, (code >> 8) & 255, code & 255
