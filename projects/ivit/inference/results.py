# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What a model says about an image, in arrays of numpy."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from ..new_file import open_new

Color: TypeAlias = tuple[int, int, int]

# What Pillow is told beside the kind of a file.
OPTIONS = dict(JPEG=dict(quality=95), WEBP=dict(quality=95))


@dataclass(frozen=True)
class Picture:
    """The image of a result, and the colours to draw with.

    Attributes:
        read: Returns the image, ``(H, W, 3)`` uint8 RGB. A file is read when
            it is asked for, so results do not keep their images.
        size: Width and height, upright, in pixels.
        path: The file; None if the image came from memory.
        classes: Names of all classes.
        palette: A colour for each class, RGB in 0..255.
    """

    read: Callable[[], np.ndarray]
    size: tuple[int, int]
    path: Path | None
    classes: tuple[str, ...]
    palette: tuple[Color, ...]


@dataclass(eq=False, kw_only=True)
class _ImageResult:
    """What results of all tasks have.

    Attributes:
        picture: The image.
    """

    picture: Picture = field(repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the image, upright, in pixels."""
        return self.picture.size

    @property
    def path(self) -> Path | None:
        """The file of the image; None if it came from memory."""
        return self.picture.path

    def draw(self) -> np.ndarray:
        """The image with the result drawn on it, ``(H, W, 3)`` uint8 RGB."""
        from .draw import draw  # matplotlib is for those who want pictures

        return draw(self)

    def save(self, path: str | Path) -> None:
        """Write the image with the result drawn on it.

        Args:
            path: The new file, of any kind that Pillow writes.

        Raises:
            ValueError: If the file exists, or its suffix is of no kind.
        """
        save_picture(self.draw(), Path(path))


@dataclass(eq=False, kw_only=True)
class Detections(_ImageResult):
    """Objects in an image, those with the highest scores first.

    Attributes:
        boxes: ``(n, 4)`` float32: x1, y1, x2, y2 in pixels of the image.
        scores: ``(n,)`` float32 in 0..1.
        labels: ``(n,)`` int64, indices of classes.
        names: The name of the class of each object.
        masks: ``(n, H, W)`` bool; None if the model finds boxes alone.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    names: list[str]
    masks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """The objects in the form of COCO's results, for ``json.dump``.

        Args:
            image_id: The image's id.

        Returns:
            Dicts with ``image_id``, ``category_id``, ``bbox`` (x, y, width,
            height), ``score`` and, if there are masks, ``segmentation``.
            Categories are numbered from 1 in the order of the classes.
        """
        results = []
        for i in range(len(self)):
            x1, y1, x2, y2 = self.boxes[i].tolist()
            result = dict(
                image_id=image_id,
                category_id=int(self.labels[i]) + 1,
                bbox=[x1, y1, x2 - x1, y2 - y1],
                score=float(self.scores[i]),
            )
            if self.masks is not None:
                result['segmentation'] = _encode_mask(self.masks[i])
            results.append(result)
        return results

    def to_supervision(self) -> Any:
        """The objects as ``supervision.Detections``.

        Raises:
            ImportError: If supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise ImportError(
                f'to_supervision needs supervision ({error}): '
                'pip install supervision'
            ) from error
        return supervision.Detections(
            xyxy=self.boxes,
            confidence=self.scores,
            class_id=self.labels,
            mask=self.masks,
            data={'class_name': np.array(self.names, dtype=str)},
        )


@dataclass(eq=False, kw_only=True)
class LabelMap(_ImageResult):
    """The class of every pixel.

    Attributes:
        labels: ``(H, W)``, uint8 or, with more than 256 classes, uint16:
            indices into ``names``.
        names: Names of all classes.
        scores: ``(H, W)`` float32 in 0..1, how sure the model is of each
            pixel.
    """

    labels: np.ndarray
    names: list[str]
    scores: np.ndarray | None = None

    def save_labels(self, path: str | Path) -> None:
        """Write the indices as a grey PNG.

        Args:
            path: The new file; its suffix is ``.png``.

        Raises:
            ValueError: If the file exists, or has another suffix.
        """
        path = Path(path)
        if path.suffix.lower() != '.png':
            raise ValueError(f'{path}: label maps are PNG; name it .png')
        save_picture(self.labels, path)


@dataclass(eq=False, kw_only=True)
class Classification(_ImageResult):
    """The class of an image.

    Attributes:
        label: The index of the class.
        name: Its name.
        score: Its score in 0..1.
        scores: ``(C,)`` float32, the scores of all classes.
    """

    label: int
    name: str
    score: float
    scores: np.ndarray


Result: TypeAlias = Detections | LabelMap | Classification


def save_picture(pixels: np.ndarray, path: Path) -> None:
    """Write a new image file.

    Args:
        pixels: ``(H, W, 3)`` uint8 RGB, or ``(H, W)`` uint8 or uint16.
        path: The file; missing folders are made.

    Raises:
        ValueError: If the file exists, or its suffix is of no kind.
    """
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise ValueError(
            f'{path}: no kind of picture has the suffix {path.suffix!r}; '
            'take .png or .jpg'
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_new(path) as file:
        Image.fromarray(pixels).save(file, kind, **OPTIONS.get(kind, {}))


def _encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """COCO's run lengths, with a string for ``counts``."""
    encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return dict(size=encoded['size'], counts=encoded['counts'].decode())
