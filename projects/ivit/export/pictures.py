# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Pictures to prove an export with, or to calibrate it."""

from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from torch import Tensor

from ..datasets.shape_scenes import draw_scene
from ..nested import innermost_datasets
from .inputs import to_bytes

DRAWN_SIZE = 256


def find_pictures(
    cfg: Config, number: int, phase: str = 'test'
) -> tuple[list[Tensor], str]:
    """Pictures of a config's data; drawn ones where that is not there.

    Args:
        cfg: The config of an experiment.
        number: How many, if the data has as many.
        phase: Whose data, ``'test'`` or ``'train'``. They always go through
            the pipeline of the test.

    Returns:
        What the pipeline gives, ``(3, H, W)`` of uint8, and what the pictures
        are, in words.
    """
    try:
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            dataset = DATASETS.build(_dataset(cfg, phase))
        number = min(number, len(dataset))
        # From all parts of the data, which may be sorted.
        places = np.linspace(0, len(dataset), number, endpoint=False)
        pictures = [
            to_bytes(dataset[int(place)]['inputs']) for place in places
        ]
    except (OSError, ValueError) as error:
        reason = ' '.join(str(error).split())
        pictures = [_draw(i) for i in range(number)]
        return pictures, (
            f'drawn shapes, as the {phase} data is not here: {reason}'
        )
    return pictures, f"pictures of the config's {phase} data"


def _dataset(cfg: Config, phase: str) -> dict[str, Any]:
    loaders = cfg[f'{phase}_dataloader'], cfg.test_dataloader
    own, tested = (
        next(innermost_datasets(loader.dataset)) for loader in loaders
    )
    return dict(own, pipeline=tested['pipeline'])


def _draw(number: int) -> Tensor:
    """A scene of shapes, ``(3, H, W)``."""
    image = draw_scene(0, 'val', number, DRAWN_SIZE).image
    return torch.from_numpy(image).permute(2, 0, 1)


def resize_pictures(
    pictures: list[Tensor], first: int, batch: int, size: tuple[int, int]
) -> list[Tensor]:
    """Some of the pictures, stretched to a height and width.

    Args:
        pictures: What :func:`find_pictures` returns.
        first: Number of the first one; after the last comes the first.
        batch: How many.
        size: Height and width.
    """
    chosen = [pictures[(first + i) % len(pictures)] for i in range(batch)]
    return [
        torch.nn.functional.interpolate(
            picture[None].float(), size, mode='bilinear', antialias=True
        )[0]
        .round()
        .clamp(0, 255)
        .byte()
        for picture in chosen
    ]
