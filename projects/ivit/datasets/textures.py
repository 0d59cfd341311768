# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Random surfaces for things that are drawn."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from PIL import Image

PLAIN = 'plain'
KINDS = (PLAIN, 'stripes', 'checks', 'clouds')
PHOTOGRAPH = 'photograph'


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """A rotation ``(2, 2)`` by any angle."""
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


def random_texture(
    rng: np.random.Generator,
    size: int,
    behind: np.ndarray,
    photograph: Callable[[], np.ndarray] | None = None,
    kinds: Sequence[str] = KINDS,
) -> np.ndarray:
    """A random surface: two colours in a pattern, and light from one side.

    Args:
        rng: Makes all random choices.
        size: Side S of the square surface, in pixels.
        behind: Mean colour ``(3,)`` behind the surface, which differs.
        photograph: Gives a photograph ``(S, S, 3)`` in 0..255, whose
            brightness is one more kind of pattern; None for patterns by
            formulas alone.
        kinds: Those of ``KINDS`` to choose from, all as likely.

    Returns:
        ``(S, S, 3)``, float, in about 0..255.
    """
    colours = rng.uniform(0, 255, (3, 3))
    contrast = np.abs(colours - behind).sum(1)
    colour = colours[contrast.argmax()]
    other = colour + rng.uniform(-110, 110, 3)
    if photograph is not None:
        kinds = (*kinds, PHOTOGRAPH)
    kind = rng.choice(kinds)
    x, y = np.tensordot(random_rotation(rng), _grid(size), 1)
    if kind == PLAIN:
        pattern: np.ndarray = np.zeros((size, size))
    elif kind in ('stripes', 'checks'):
        frequency = 2 * np.pi / rng.uniform(0.04, 0.12) / size
        pattern = np.sin(frequency * x + rng.uniform(0, 2 * np.pi))
        if kind == 'checks':
            pattern = pattern * np.sin(frequency * y)
        pattern = 1 / (1 + np.exp(-4 * pattern))
    elif photograph is None or kind == 'clouds':
        grid = Image.fromarray(rng.uniform(0, 1, (12, 12)).astype('float32'))
        bicubic = Image.Resampling.BICUBIC
        pattern = np.asarray(grid.resize((size, size), bicubic), float)
    else:
        pattern = photograph().mean(-1) / 255
    surface = colour + pattern[..., None] * (other - colour)
    light = 1 + rng.uniform(0, 0.35) * (x - x.mean()) / size
    return surface * light[..., None]


@cache
def _grid(size: int) -> np.ndarray:
    """Coordinates ``(2, S, S)`` of the pixels: x, y."""
    v, u = np.mgrid[:size, :size]
    return np.stack([u, v])
