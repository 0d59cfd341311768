# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Categories of fractals: one iterated function system each."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.progress import Progress
from torch import Generator
from torch.utils.data import DataLoader

from ..made_once import count_workers, make_once
from .systems import (
    NUM_MAPS,
    FractalSystem,
    determinants,
    hit_pixels,
    play_chaos_game,
    random_contractions,
    random_maps,
)

# FractalDB's search: 100,000 points on 512 x 512 pixels, a margin of 6.
NUM_POINTS = 100_000
IMAGE_SIZE = 512
MARGIN = 6
#: Points per pixel of that image; with as many in any other image, a fractal
#: looks the same.
DENSITY = NUM_POINTS / IMAGE_SIZE**2
PERTURBED_FILLING_RATE = 0.05  # the least that 1p-frac draws


class Categories:
    """The systems of all categories, searched once and kept in a file.

    Args:
        num_categories: Number of categories.
        find: Finds the system of the category of a number.
    """

    def __init__(
        self, num_categories: int, find: Callable[[int], FractalSystem]
    ) -> None:
        self.num_categories = num_categories
        self.find = find

    def __len__(self) -> int:
        return self.num_categories

    def __getitem__(self, category: int) -> FractalSystem:
        return self.find(category)

    def load(self, path: Path) -> list[FractalSystem]:
        """Read the systems from a file, which is made if it is not there.

        Args:
            path: The file, ``.npy``: for each category seven rows of the six
                parameters and the probability, not a number behind the last
                map.

        Raises:
            ValueError: If the file has something else.
        """
        make_once(path, self._write, f'{len(self)} categories of fractals')
        try:
            table = np.load(path)
        except (OSError, ValueError) as error:
            raise ValueError(
                f'{path} cannot be read ({error}). Remove it by hand, and it '
                'will be made anew.'
            ) from error
        if table.shape != (len(self), NUM_MAPS[1], 7):
            raise ValueError(
                f'{path} has an array {table.shape} instead of '
                f'{(len(self), NUM_MAPS[1], 7)}. Remove it by hand, and it '
                'will be made anew.'
            )
        return [
            FractalSystem(rows[:, :6], rows[:, 6])
            for rows in (part[~np.isnan(part[:, 0])] for part in table)
        ]

    def _write(self, path: Path) -> None:
        table = np.full((len(self), NUM_MAPS[1], 7), np.nan)
        # rich draws a moving bar on a terminal, one line in a log file.
        with Progress() as progress:
            bar = progress.add_task('Searching fractals', total=len(self))
            loader: DataLoader = DataLoader(
                self,  # type: ignore[arg-type]  # it has what is needed
                batch_size=None,
                num_workers=count_workers(len(self)),
                # The training's own random numbers stay what they are.
                generator=Generator(),
            )
            for rows, system in zip(table, loader, strict=True):
                rows[: len(system.maps), :6] = system.maps
                rows[: len(system.maps), 6] = system.probabilities
                progress.advance(bar)
        with path.open('wb') as file:  # np.save would add a suffix
            np.save(file, table)


def class_names(num_categories: int) -> list[str]:
    """Names of the categories: ``fractal 000`` and so on."""
    digits = len(str(num_categories - 1))
    return [f'fractal {k:0{digits}d}' for k in range(num_categories)]


def search_category(
    seed: int, category: int, filling_rate: float
) -> FractalSystem:
    """Find the system of one category, by FractalDB's search.

    A category depends on the seed and its own number alone, so any part of
    the categories can be found by any process.

    Args:
        seed: Seed of the data set.
        category: Number of the category, from 0.
        filling_rate: The least part of the pixels that is hit.
    """
    rng = np.random.default_rng([seed, category])
    while True:
        maps = random_maps(rng)
        # Less than 0.9 hits too few pixels; this costs nothing to see.
        if determinants(maps).sum() < 0.9:
            continue
        system = FractalSystem.of_maps(maps)
        # A coarse image overestimates: a look at one spares most others.
        if (
            measure_filling_rate(system, IMAGE_SIZE // 5, 1, rng)
            >= filling_rate
            and measure_filling_rate(system, IMAGE_SIZE, MARGIN, rng)
            >= filling_rate
        ):
            return system


def perturb_fractal(
    seed: int, category: int, delta: float, sigma_factor: float
) -> FractalSystem:
    """The system of one category of 1p-frac (arXiv 2408.00677).

    All categories are perturbations of one fractal of two maps: every
    parameter is multiplied by a number from ``1 - delta`` to ``1 + delta``.

    Args:
        seed: Seed of the data set; it chooses the one fractal.
        category: Number of the category, from 0; it chooses the perturbation.
        delta: How far a parameter may be off, as a part of it.
        sigma_factor: That of the one fractal.
    """
    one = _one_fractal(seed, sigma_factor)
    rng = np.random.default_rng([seed, category])
    while True:
        system = one.scaled(rng.uniform(1 - delta, 1 + delta, (2, 6)))
        rate = measure_filling_rate(system, IMAGE_SIZE, MARGIN, rng)
        if rate >= PERTURBED_FILLING_RATE:
            return system


def _one_fractal(seed: int, sigma_factor: float) -> FractalSystem:
    rng = np.random.default_rng(seed)
    while True:
        maps = random_contractions(rng, 2, sigma_factor)
        system = FractalSystem.of_maps(maps)
        rate = measure_filling_rate(system, IMAGE_SIZE, MARGIN, rng)
        if rate >= PERTURBED_FILLING_RATE:
            return system


def measure_filling_rate(
    system: FractalSystem, size: int, margin: int, rng: np.random.Generator
) -> float:
    """The part of an image's pixels that FractalDB's number of points hits.

    Args:
        system: What is drawn.
        size: Side of the image, in pixels; the points are as dense as in
            FractalDB.
        margin: Free pixels at each side.
        rng: Makes all random choices.

    Returns:
        0 if nothing can be drawn.
    """
    num_points = round(DENSITY * size**2)
    points = play_chaos_game(system, num_points, rng, particles=1024)
    if points is None:
        return 0.0
    return float(hit_pixels(points, size, margin).mean())
