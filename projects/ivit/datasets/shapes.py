# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The ``shapes`` data set: six shapes on photographs."""

from functools import partial
from pathlib import Path

from .scene_files import LOWEST, SceneSource, check_settings, ensure_scenes
from .shape_scenes import CLASSES, draw_scene

#: Increased with every change after which the same settings give other files.
FORMAT = 1


def ensure_shapes(
    root: str | Path = 'data/shapes',
    num_train: int = 2000,
    num_val: int = 300,
    image_size: int = 128,
    seed: int = 0,
) -> Path:
    """Make the data set in ``root`` unless it is there already.

    See :func:`.scene_files.ensure_scenes`, and the docstring of its file for
    what lies where.

    Args:
        root: Folder of the data set. An existing one is never changed.
        num_train: Number of training images.
        num_val: Number of validation images.
        image_size: Side of the square images, in pixels.
        seed: Seed of all random choices. The same settings give the same
            bytes with the same versions of numpy, scikit-image and Pillow.

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
        'seed': seed,
    }
    check_settings(settings, LOWEST, 'shapes')
    draw = partial(draw_scene, seed, image_size=image_size)
    source = SceneSource(
        'shapes',
        format=FORMAT,
        classes=CLASSES,
        draw=draw,
        with_crops=True,
        packages=('numpy', 'scikit-image', 'Pillow'),
    )
    return ensure_scenes(root, settings, source)
