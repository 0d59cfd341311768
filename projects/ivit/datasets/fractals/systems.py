# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Iterated function systems, the formulas that fractals are drawn from."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

NUM_MAPS = (2, 7)  # FractalDB's range
#: FractalDB's fluctuations: each of the six parameters by each of these, the
#: weights at intervals of 0.4 (its best).
WEIGHTS = (0.2, 0.6, 1.4, 1.8)
NUM_FLUCTUATIONS = 1 + 6 * len(WEIGHTS)
BURN_IN = 24  # steps until a particle is on the attractor
PARTICLES = 256  # the fastest number for some thousand points
FARTHEST = 1e4  # a particle beyond it will not come back


@dataclass(frozen=True, eq=False)
class FractalSystem:
    """An iterated function system (IFS) of N affine maps.

    Attributes:
        maps: ``(N, 6)``, the parameters a to f of each map
            ``x' = a x + b y + e, y' = c x + d y + f``.
        probabilities: ``(N,)``, how often each map is taken.
    """

    maps: np.ndarray
    probabilities: np.ndarray

    @classmethod
    def of_maps(cls, maps: np.ndarray) -> 'FractalSystem':
        """A system whose probabilities are in proportion to ``|det|``."""
        areas = determinants(maps)
        return cls(maps, areas / areas.sum())

    def scaled(self, factors: np.ndarray) -> 'FractalSystem':
        """The system with all parameters multiplied.

        Args:
            factors: ``(6,)`` or ``(N, 6)``.

        Returns:
            A system of the same probabilities, as in FractalDB.
        """
        return FractalSystem(self.maps * factors, self.probabilities)

    def fluctuated(self, number: int) -> 'FractalSystem':
        """One of FractalDB's fluctuations of the system.

        Args:
            number: 0 is the system itself, 1 to 24 have one parameter of all
                maps multiplied by one of ``WEIGHTS``.
        """
        factors = np.ones(6)
        if number:
            parameter, weight = divmod(number - 1, len(WEIGHTS))
            factors[parameter] = WEIGHTS[weight]
        return self.scaled(factors)


def draw_fluctuated(
    system: FractalSystem,
    number: int,
    draw: Callable[[FractalSystem], np.ndarray | None],
) -> np.ndarray:
    """Draw a fluctuation, or the system itself where that one expands.

    Args:
        system: The system of a category.
        number: See :meth:`FractalSystem.fluctuated`.
        draw: Draws a system; returns None if it expands.

    Raises:
        ValueError: If the system itself expands.
    """
    drawn = draw(system.fluctuated(number))
    if drawn is None:
        drawn = draw(system)
    if drawn is None:
        raise ValueError(f'the system of a category expands: {system}')
    return drawn


def determinants(maps: np.ndarray) -> np.ndarray:
    """The factor ``(N,)`` by which each map scales areas."""
    a, b, c, d = maps[:, :4].T
    return np.abs(a * d - b * c)


def random_maps(rng: np.random.Generator) -> np.ndarray:
    """Maps as FractalDB draws them: all parameters uniform in [-1, 1]."""
    low, high = NUM_MAPS
    return rng.uniform(-1, 1, (rng.integers(low, high + 1), 6))


def random_contractions(
    rng: np.random.Generator, num_maps: int, sigma_factor: float
) -> np.ndarray:
    """Maps of a given sigma factor, as 1p-frac draws its one fractal.

    A linear part is made from its singular values ``s1 >= s2``, two rotations
    and reflections. The sigma factor (Anderson & Farrell, arXiv 2110.03091)
    is the sum of ``s1 + 2 s2`` over the maps. Translations are uniform in
    [-1, 1].

    Args:
        rng: Makes all random choices.
        num_maps: Number N of maps.
        sigma_factor: To be met within 0.1, as 1p-frac does.

    Returns:
        ``(N, 6)``.

    Raises:
        ValueError: If no maps have this sigma factor.
    """
    if not 0.1 <= sigma_factor <= 3 * num_maps - 0.1:
        raise ValueError(
            f'sigma_factor={sigma_factor} must be from 0.1 to '
            f'{3 * num_maps - 0.1:g} for {num_maps} maps'
        )
    while True:
        values = np.sort(rng.uniform(0, 1, (num_maps, 2)), axis=1)[:, ::-1]
        if abs((values @ [1, 2]).sum() - sigma_factor) <= 0.1:
            break
    maps = np.empty((num_maps, 6))
    for parameters, singular in zip(maps, values, strict=True):
        signs = rng.choice([-1, 1], 2)
        left, right = (_rotation(rng.uniform(-np.pi, np.pi)) for _ in 'lr')
        linear = left @ np.diag(singular) @ right @ np.diag(signs)
        parameters[:4] = linear.ravel()
    maps[:, 4:] = rng.uniform(-1, 1, (num_maps, 2))
    return maps


def _rotation(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


def play_chaos_game(
    system: FractalSystem,
    num_points: int,
    rng: np.random.Generator,
    particles: int = PARTICLES,
) -> np.ndarray | None:
    """Points of the attractor.

    The chaos game moves a particle by a random map again and again. One
    particle is slow in Python, so many play side by side, from random starts.

    Args:
        system: The maps and their probabilities.
        num_points: Number n of points.
        rng: Makes all random choices.
        particles: Number of particles.

    Returns:
        ``(2, n)``: x and y; None if the particles do not stay in sight, as
        those of maps that expand.
    """
    steps = BURN_IN - (-num_points // particles)
    bounds = np.cumsum(system.probabilities)
    choices = np.searchsorted(
        bounds / bounds[-1], rng.random((steps, particles)), side='right'
    )
    x, y = rng.uniform(-1, 1, (2, particles))
    points = np.empty((2, steps, particles))
    with np.errstate(over='ignore', invalid='ignore'):
        for step, choice in enumerate(choices):
            a, b, c, d, e, f = system.maps[choice].T
            x, y = a * x + b * y + e, c * x + d * y + f
            points[0, step], points[1, step] = x, y
    flat = points[:, BURN_IN:].reshape(2, -1)[:, :num_points]
    return flat if (np.abs(flat) < FARTHEST).all() else None


def hit_pixels(points: np.ndarray, size: int, margin: int) -> np.ndarray:
    """Which pixels of a square image the points hit.

    The points fill the image but for a margin, as in FractalDB: both axes
    are scaled, each by itself.

    Args:
        points: ``(2, n)``: x to the right, y upwards.
        size: Side S of the image, in pixels.
        margin: Free pixels at each side.

    Returns:
        ``(S, S)`` bool.
    """
    low = points.min(1, keepdims=True)
    extent = np.maximum(points.max(1, keepdims=True) - low, 1e-12)
    cells = (points - low) / extent * (size - 2 * margin - 1e-6) + margin
    columns, rows = cells.astype(np.intp)
    hits = np.zeros((size, size), bool)
    hits[size - 1 - rows, columns] = True
    return hits
