# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Colours for classes that have none."""

import colorsys
from collections.abc import Sequence


def make_palette(number: int) -> list[tuple[int, int, int]]:
    """Colours that neighbours in a list are told apart by.

    Args:
        number: How many.

    Returns:
        RGB in 0..255, the same ones every time.
    """
    palette = []
    for i in range(number):
        # Steps of the golden ratio keep neighbours' hues apart.
        hue = (0.02 + 0.618034 * i) % 1
        saturation, value = ((0.8, 0.95), (0.55, 0.85))[i % 2]
        rgb = colorsys.hsv_to_rgb(hue, saturation, value)
        red, green, blue = (round(255 * part) for part in rgb)
        palette.append((red, green, blue))
    return palette


def color_classes(names: Sequence[str]) -> list[tuple[int, int, int]]:
    """Colours for classes of a label map.

    Args:
        names: Their names. A class called background is black, which
            pictures leave unpainted.

    Returns:
        RGB in 0..255.
    """
    return [
        (0, 0, 0) if name.casefold() == 'background' else color
        for name, color in zip(names, make_palette(len(names)), strict=True)
    ]
