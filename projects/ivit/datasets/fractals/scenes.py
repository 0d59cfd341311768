# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Scenes of the ``fractal scenes`` data set: fractals before textures.

Everything in them comes from formulas: no pixel is of a photograph.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ..scene_files import LOWEST, SceneSource, check_settings, ensure_scenes
from ..scenes import SPLITS, Scene, compose
from ..textures import random_rotation, random_texture
from .categories import DENSITY, Categories, class_names, search_category
from .drawing import SUPERSAMPLING, reduce_mask, stamp_patches
from .systems import (
    NUM_FLUCTUATIONS,
    FractalSystem,
    draw_fluctuated,
    hit_pixels,
    play_chaos_game,
)

#: Increased with every change after which the same settings give other files.
FORMAT = 1
#: Range of a fractal's larger side, as a fraction of the image side.
SIDES = (0.18, 0.5)
MAX_CATEGORIES = 254  # a label map has 8 bits, of which 255 is ignored


def ensure_fractal_scenes(
    root: str | Path = 'data/fractal_scenes',
    num_train: int = 2000,
    num_val: int = 300,
    image_size: int = 128,
    num_categories: int = 200,
    seed: int = 0,
) -> Path:
    """Make the data set in ``root`` unless it is there already.

    See :func:`..scene_files.ensure_scenes`, and the docstring of its file for
    what lies where. There are no class folders. The categories are those of
    ``FractalDataset`` of the same seed, at a filling rate of 0.2.

    Args:
        root: Folder of the data set. An existing one is never changed.
        num_train: Number of training images.
        num_val: Number of validation images.
        image_size: Side of the square images, in pixels.
        num_categories: Number of classes, 2 to 254.
        seed: Seed of all random choices. The same settings give the same
            bytes with the same versions of numpy and Pillow.

    Returns:
        ``root`` as a path.

    Raises:
        ValueError: If a setting is out of range, or ``root`` exists and is
            not this data set, has other settings or lacks files.
    """
    settings = {
        'num_train': num_train,
        'num_val': num_val,
        'image_size': image_size,
        'num_categories': num_categories,
        'seed': seed,
    }
    check_settings(settings, {**LOWEST, 'num_categories': 2}, 'fractal scenes')
    if num_categories > MAX_CATEGORIES:
        raise ValueError(
            f'num_categories={num_categories} of the fractal scenes data set '
            f'must be at most {MAX_CATEGORIES}'
        )
    root = Path(root)
    draw = _SceneDrawer(root, num_categories, image_size, seed)
    if not root.exists():
        draw.find_categories()  # here, where it can use all cores
    source = SceneSource(
        'fractal scenes',
        format=FORMAT,
        classes=class_names(num_categories),
        draw=draw,
        with_crops=False,
    )
    return ensure_scenes(root, settings, source)


class _SceneDrawer:
    """Draws a scene of categories that it finds first.

    Args:
        root: Folder of the data set; the categories are kept beside it.
        num_categories: Number of classes.
        image_size: Side of the square images, in pixels.
        seed: Seed of the data set.
    """

    def __init__(
        self, root: Path, num_categories: int, image_size: int, seed: int
    ) -> None:
        self.root = root
        self.num_categories = num_categories
        self.image_size = image_size
        self.seed = seed
        self._systems: list[FractalSystem] = []

    def find_categories(self) -> None:
        """Search the categories, or read them if that was done."""
        find = partial(search_category, self.seed, filling_rate=0.2)
        categories = Categories(self.num_categories, find)
        name = f'{self.root.name}_seed{self.seed}_{self.num_categories}.npy'
        self._systems = categories.load(self.root.with_name(name))

    def __call__(self, split: str, index: int) -> Scene:
        return draw_scene(
            self._systems, self.seed, split, index, self.image_size
        )


def draw_scene(
    systems: Sequence[FractalSystem],
    seed: int,
    split: str,
    index: int,
    image_size: int,
) -> Scene:
    """Draw one scene.

    Args:
        systems: One for each category.
        seed: Seed of the data set, >= 0.
        split: ``'train'`` or ``'val'``.
        index: Number of the scene within its split, >= 0.
        image_size: Side S of the square image, in pixels.
    """
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    canvas = random_texture(rng, image_size, np.full(3, 127.0))

    def draw_object(label: int) -> tuple[np.ndarray, float]:
        return _place_fractal(rng, systems[label], image_size)

    def draw_surface(behind: np.ndarray) -> np.ndarray:
        return random_texture(rng, image_size, behind)

    return compose(rng, canvas, len(systems), draw_object, draw_surface)


def _place_fractal(
    rng: np.random.Generator, system: FractalSystem, size: int
) -> tuple[np.ndarray, float]:
    """Draw a fluctuation of a fractal, turned by any angle, somewhere.

    Returns:
        What :func:`..scenes.compose` asks for.
    """
    side = max(8, round(size * np.exp(rng.uniform(*np.log(SIDES)))))
    num_points = round(DENSITY * (side * SUPERSAMPLING) ** 2)
    number = int(rng.integers(NUM_FLUCTUATIONS))
    points = draw_fluctuated(
        system, number, lambda one: play_chaos_game(one, num_points, rng)
    )
    hits = hit_pixels(random_rotation(rng) @ points, side * SUPERSAMPLING, 1)
    tile = reduce_mask(stamp_patches(hits, rng))
    # On a canvas with a border of one tile, part of which is cut off.
    canvas = np.zeros((size + 2 * side, size + 2 * side))
    x, y = (rng.uniform(0.08, 0.92, 2) * size + side / 2).astype(int)
    canvas[y : y + side, x : x + side] = tile
    return canvas[side:-side, side:-side], float(tile.sum())
