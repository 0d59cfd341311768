# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Pictures of fractals: patches in place of points, textures and colours."""

import numpy as np

from ..textures import KINDS, PLAIN, random_texture
from .categories import DENSITY, IMAGE_SIZE, MARGIN
from .systems import FractalSystem, hit_pixels, play_chaos_game

SUPERSAMPLING = 2  # drawn pixels per pixel and axis; reduce_mask has it too
GREY = 127.0  # FractalDB's fractals, on black
NOISE = 6.0  # the most, as standard deviation in 0..255


def draw_points(
    system: FractalSystem, size: int, seed: list[int]
) -> np.ndarray | None:
    """Where the fractal is, before patches.

    Args:
        system: The fractal.
        size: Side S of the picture, in pixels.
        seed: Seed of the points, which are always the same, as in FractalDB.

    Returns:
        ``(2 S, 2 S)`` bool, as dense as FractalDB's pictures; None if the
        system expands.
    """
    side = size * SUPERSAMPLING
    points = play_chaos_game(
        system, round(DENSITY * side**2), np.random.default_rng(seed)
    )
    if points is None:
        return None
    return hit_pixels(points, side, round(MARGIN * side / IMAGE_SIZE))


def stamp_patches(hits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put a random pattern of 3 x 3 pixels around every point.

    Args:
        hits: ``(S, S)`` bool, the points.
        rng: Chooses one of the 511 patterns for each point.

    Returns:
        ``(S, S)`` bool.
    """
    height, width = hits.shape
    patterns = np.zeros((height + 2, width + 2), np.int16)
    (places,) = np.nonzero(hits.ravel())
    rows, columns = np.divmod(places, width)
    patterns[rows + 1, columns + 1] = rng.integers(1, 512, len(places))
    stamped = np.zeros_like(hits)
    for bit in range(9):
        y, x = divmod(bit, 3)
        shifted = patterns[y : y + height, x : x + width]
        stamped |= (shifted & (1 << bit)) != 0
    return stamped


def reduce_mask(mask: np.ndarray) -> np.ndarray:
    """How much of each pixel is covered, ``(S, S)`` in 0..1."""
    counts = mask.view(np.uint8)
    counts = counts[::2] + counts[1::2]
    return (counts[:, ::2] + counts[:, 1::2]) / np.float32(4)


def paint(
    coverage: np.ndarray,
    rng: np.random.Generator,
    colour_prob: float,
    texture_prob: float,
) -> np.ndarray:
    """Give a fractal and what is behind it a surface.

    Args:
        coverage: ``(S, S)``, how much of each pixel the fractal covers.
        rng: Makes all random choices.
        colour_prob: How likely the two have random surfaces and the picture
            noise, instead of grey on black.
        texture_prob: How likely a random surface has a texture instead of a
            plain colour.

    Returns:
        ``(S, S, 3)`` uint8.
    """
    if rng.random() >= colour_prob:
        picture = np.repeat((GREY * coverage)[..., None], 3, axis=-1)
    else:
        size = len(coverage)
        kinds = [
            KINDS if textured else (PLAIN,)
            for textured in rng.random(2) < texture_prob
        ]
        middle = np.full(3, 127.0)
        behind = random_texture(rng, size, middle, kinds=kinds[0])
        mean = behind.mean((0, 1))
        surface = random_texture(rng, size, mean, kinds=kinds[1])
        picture = behind + coverage[..., None] * (surface - behind)
        noise = rng.standard_normal(picture.shape, np.float32)
        picture += rng.uniform(0, NOISE) * noise
    return picture.round().clip(0, 255).astype(np.uint8)
