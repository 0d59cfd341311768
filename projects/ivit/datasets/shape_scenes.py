# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Scenes of the ``shapes`` data set: textured shapes on photograph crops.

A scene depends on ``(seed, split, index, image_size)`` alone: all its random
choices come from one generator with that seed. So scenes can be drawn in any
order and by any process.
"""

from functools import cache, partial
from pathlib import Path

import numpy as np
import skimage
from PIL import Image, ImageDraw

from .scenes import SPLITS, Scene, compose
from .textures import random_rotation, random_texture

#: Alphabetical, as mmpretrain numbers class folders by their sorted names.
CLASSES = ('circle', 'cross', 'ring', 'square', 'star', 'triangle')
PALETTE = (
    (230, 60, 60),
    (60, 180, 75),
    (255, 200, 25),
    (0, 130, 200),
    (245, 130, 48),
    (145, 30, 180),
)
# Images that every wheel of scikit-image has (checked from 0.20 on), in the
# public domain or under CC0. Images full of round things (coins, retina) are
# not used: the things would look like shapes without a label.
PHOTOGRAPHS = (
    'astronaut.png',
    'brick.png',
    'camera.png',
    'chelsea.png',
    'coffee.png',
    'grass.png',
    'gravel.png',
    'hubble_deep_field.jpg',
    'rocket.jpg',
)
# The part of a photograph's width, from the left, that is the background of
# training scenes. Validation scenes have the rest: they share no pixel.
TRAIN_PART = 0.65

#: Range of an outline's diameter, as a fraction of the image side.
DIAMETERS = (0.18, 0.5)
_SUPERSAMPLING = 4  # drawn pixels per pixel and axis


def draw_scene(seed: int, split: str, index: int, image_size: int) -> Scene:
    """Draw one scene.

    Args:
        seed: Seed of the data set, >= 0.
        split: ``'train'`` or ``'val'``.
        index: Number of the scene within its split, >= 0.
        image_size: Side S of the square image, in pixels.
    """
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    # With a tint: some photographs are grey, and a shape should not be told
    # from them by having a colour.
    canvas = _photo_crop(rng, split, image_size) * rng.uniform(0.55, 1.1, 3)

    def draw_object(label: int) -> tuple[np.ndarray, float]:
        outlines = _random_outlines(rng, CLASSES[label], image_size)
        return _rasterise(outlines, image_size)

    def draw_surface(behind: np.ndarray) -> np.ndarray:
        crop = partial(_photo_crop, rng, split, image_size)
        return random_texture(rng, image_size, behind, crop)

    return compose(rng, canvas, len(CLASSES), draw_object, draw_surface)


@cache
def _photograph(name: str) -> Image.Image:
    # From the file: functions of skimage.data may try to download.
    with Image.open(Path(skimage.__file__).parent / 'data' / name) as photo:
        return photo.convert('RGB')


def _photo_crop(rng: np.random.Generator, split: str, size: int) -> np.ndarray:
    """A square part of a photograph, ``(size, size, 3)``, float in 0..255."""
    photo = _photograph(PHOTOGRAPHS[rng.integers(len(PHOTOGRAPHS))])
    border = round(TRAIN_PART * photo.width)
    left, right = (0, border) if split == 'train' else (border, photo.width)
    side = min(right - left, photo.height) * rng.uniform(0.5, 1)
    x = rng.uniform(left, right - side)
    y = rng.uniform(0, photo.height - side)
    crop = photo.resize(
        (size, size), Image.Resampling.BILINEAR, (x, y, x + side, y + side)
    )
    pixels = np.asarray(crop, float)
    return pixels[:, ::-1] if rng.random() < 0.5 else pixels


def _points_around(corners: int, *radii: float) -> np.ndarray:
    """Points ``(corners, 2)`` at equal angles, at the given radii in turn."""
    angles = 2 * np.pi * np.arange(corners) / corners
    radius = np.resize(radii, corners)
    return np.stack([np.cos(angles), np.sin(angles)], 1) * radius[:, None]


def _random_outlines(
    rng: np.random.Generator, name: str, size: int
) -> list[np.ndarray]:
    """The outlines of a shape somewhere in the image.

    Returns:
        The outer outline and those of the holes, each an array ``(k, 2)`` of
        x, y in pixels.
    """
    detail = rng.random()  # thickness of a ring, a cross or a star's arms
    if name == 'circle':
        outlines = [_points_around(48, 1)]
    elif name == 'cross':
        arm = 0.26 + 0.14 * detail
        quarter = np.array([[1, -arm], [1, arm], [arm, arm]])
        turns = [np.array([[0, 1], [-1, 0]])]
        for _ in range(3):
            turns.append(turns[0] @ turns[-1])
        outlines = [np.concatenate([quarter @ turn for turn in turns])]
    elif name == 'ring':
        outlines = [
            _points_around(48, 1),
            _points_around(48, 0.45 + 0.2 * detail),
        ]
    elif name == 'square':
        outlines = [_points_around(4, 1)]
    elif name == 'star':
        outlines = [_points_around(10, 1, 0.38 + 0.12 * detail)]
    else:
        outlines = [_points_around(3, 1)]
    low, high = np.log(DIAMETERS)
    radius = np.exp(rng.uniform(low, high)) * size / 2
    stretch = np.diag([rng.uniform(0.75, 1), 1])
    linear = random_rotation(rng) @ stretch @ random_rotation(rng) * radius
    centre = rng.uniform(0.08, 0.92, 2) * size
    return [points @ linear.T + centre for points in outlines]


def _rasterise(
    outlines: list[np.ndarray], size: int
) -> tuple[np.ndarray, float]:
    """Draw a shape.

    Returns:
        How much of each pixel the shape covers, ``(size, size)`` in 0..1, and
        the area of the whole shape, also of what is outside of the image.
    """
    side = size * _SUPERSAMPLING
    picture = Image.new('L', (side, side))
    draw = ImageDraw.Draw(picture)
    area = 0.0
    for i, points in enumerate(outlines):
        hole = i > 0
        corners = (points * _SUPERSAMPLING).ravel().tolist()
        draw.polygon(corners, fill=0 if hole else 255)
        area += _polygon_area(points) * (-1 if hole else 1)
    coverage = np.asarray(picture.reduce(_SUPERSAMPLING), float) / 255
    return coverage, area


def _polygon_area(points: np.ndarray) -> float:
    x, y = points.T
    return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
