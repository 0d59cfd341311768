# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Scenes: objects on a background that hide parts of one another."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SPLITS = ('train', 'val')
MAX_OBJECTS = 5
#: The least fraction of an object that is visible, where other objects or the
#: border of the image hide it.
MIN_VISIBLE = 0.55
_TRIES_PER_OBJECT = 20


@dataclass
class Scene:
    """An image and what it shows.

    Attributes:
        image: ``(S, S, 3)`` uint8, RGB.
        labels: Index of the class of each of the n objects.
        masks: ``(n, S, S)`` bool, the visible part of each object. No pixel
            belongs to two objects.
    """

    image: np.ndarray
    labels: list[int]
    masks: np.ndarray

    def boxes(self) -> np.ndarray:
        """Bounding boxes ``(n, 4)`` of the masks: x, y, width, height."""
        boxes = np.zeros((len(self.labels), 4), int)
        for box, mask in zip(boxes, self.masks, strict=True):
            (ys,) = np.nonzero(mask.any(1))
            (xs,) = np.nonzero(mask.any(0))
            box[:2] = xs[0], ys[0]
            box[2:] = xs[-1] - xs[0] + 1, ys[-1] - ys[0] + 1
        return boxes

    def label_map(self) -> np.ndarray:
        """Labels ``(S, S)``, uint8: 0 is background, i + 1 class i."""
        label_map = np.zeros(self.image.shape[:2], np.uint8)
        for label, mask in zip(self.labels, self.masks, strict=True):
            label_map[mask] = label + 1
        return label_map


def compose(
    rng: np.random.Generator,
    canvas: np.ndarray,
    num_classes: int,
    draw_object: Callable[[int], tuple[np.ndarray, float]],
    draw_surface: Callable[[np.ndarray], np.ndarray],
) -> Scene:
    """Put objects on a background, one over another.

    Args:
        rng: Makes all random choices.
        canvas: The background ``(S, S, 3)``, in 0..255; painted over.
        num_classes: Number of classes, all as likely.
        draw_object: Draws an object of a class somewhere: how much of each
            pixel it covers, ``(S, S)`` in 0..1, and the area of all of it,
            also of what is outside of the image.
        draw_surface: Draws a surface ``(S, S, 3)`` that differs from the mean
            colour ``(3,)`` behind the object.
    """
    size = len(canvas)
    labels: list[int] = []
    masks: np.ndarray = np.zeros((0, size, size), bool)
    full_areas: list[float] = []
    for _ in range(rng.integers(1, MAX_OBJECTS + 1)):
        label = int(rng.integers(num_classes))
        for _ in range(_TRIES_PER_OBJECT):
            alpha, full_area = draw_object(label)
            mask = alpha >= 0.5
            seen = np.concatenate([masks & ~mask, mask[None]])
            areas = [*full_areas, full_area]
            if (seen.sum((1, 2)) >= MIN_VISIBLE * np.array(areas)).all():
                surface = draw_surface(canvas[mask].mean(0))
                canvas += alpha[..., None] * (surface - canvas)
                labels.append(label)
                masks, full_areas = seen, areas
                break
    canvas += rng.normal(0, rng.uniform(0, 6), canvas.shape)
    image = canvas.round().clip(0, 255).astype(np.uint8)
    return Scene(image, labels, masks)
