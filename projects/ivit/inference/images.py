# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Images of every kind as the pixels that a model was trained on."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from mmcv.transforms import LoadImageFromFile
from PIL import Image, ImageOps

from ..annotations.image_files import (
    READ_ERRORS,
    TURNED_FORMATS,
    read_head,
)
from ..engine.errors import UsageError

ImageLike: TypeAlias = str | Path | Image.Image | np.ndarray

# What `color_type` of a loading step says when files are turned by their
# EXIF data, and when they are not.
COLOR, COLOR_AS_STORED = 'color', 'color_ignore_orientation'


class ImageError(ValueError):
    """An image that cannot be read, or that the model cannot take."""


class ImageReader:
    """Reads images as the loading step of a config does.

    Files are read by the step itself, so they have the pixels that the model
    was trained and tested on. Images in memory become the same pixels that
    they would have as a file:

    - Arrays are RGB, as Pillow's are, or grey.
    - 16 bits are divided by 256, as OpenCV does with files.
    - Transparency is left out. Grey becomes RGB.
    - Pillow's images are turned by their EXIF data where OpenCV turns files:
      all but WebP. Arrays are upright.

    Args:
        step: The config of the step, a ``LoadImageFromFile``.

    Raises:
        UsageError: If the step reads images of another kind than RGB.
    """

    def __init__(self, step: Mapping[str, Any]) -> None:
        options = {key: step[key] for key in step if key != 'type'}
        color = options.get('color_type', COLOR)
        if color not in (COLOR, COLOR_AS_STORED):
            raise UsageError(
                f'color_type={color!r} of LoadImageFromFile in the test '
                f'pipeline: images for prediction are RGB, {COLOR!r} or '
                f'{COLOR_AS_STORED!r}'
            )
        self._turns = color == COLOR
        self._to_float = bool(options.get('to_float32', False))
        self._step = LoadImageFromFile(**options)

    def read(self, image: ImageLike, name: str) -> np.ndarray:
        """Read an image.

        Args:
            image: A path, an image of Pillow, or an array ``(H, W)`` or
                ``(H, W, 3)`` RGB, uint8 or uint16.
            name: What it is called in errors, if it is no file.

        Returns:
            ``(H, W, 3)`` BGR in 0..255, uint8, or float32 if the config says
            so.

        Raises:
            ImageError: If it cannot be read.
            TypeError: If it is of another type.
        """
        if isinstance(image, (str, Path)):
            return self._read_file(Path(image))
        if isinstance(image, Image.Image):
            image = self._pillow_to_array(image, name)
        if not isinstance(image, np.ndarray):
            raise TypeError(
                f'{name} is a {type(image).__name__}; give a path, an image '
                'of Pillow or an array of numpy'
            )
        bgr = _array_to_bgr(image, name)
        return bgr.astype(np.float32) if self._to_float else bgr

    def _read_file(self, path: Path) -> np.ndarray:
        if not path.is_file():
            what = 'is a folder' if path.is_dir() else 'does not exist'
            raise ImageError(f'{path} {what}; give the path of an image')
        try:
            is_whole = read_head(path).is_whole
        except OSError as error:
            raise ImageError(
                f'{path} cannot be read as an image; look whether it opens '
                'in a viewer'
            ) from error
        if not is_whole:
            raise ImageError(f'the end of {path} is missing; copy it again')
        try:
            results = self._step.transform({'img_path': str(path)})
        except Exception as error:  # of OpenCV, mmcv or a storage backend
            raise ImageError(
                f'{path} cannot be decoded ({error}); save it as PNG or JPEG'
            ) from error
        return results['img']

    def _pillow_to_array(self, image: Image.Image, name: str) -> np.ndarray:
        kind = image.format
        try:
            image.load()
        except READ_ERRORS as error:
            raise ImageError(
                f'{name}: Pillow cannot decode it ({error}); is its file '
                'whole and still open?'
            ) from error
        if self._turns and (kind is None or kind in TURNED_FORMATS):
            # OpenCV passes over broken EXIF data, too.
            with suppress(*READ_ERRORS):
                image = ImageOps.exif_transpose(image)
        if image.mode.startswith('I;16'):
            return np.asarray(image)
        if image.mode in ('I', 'F'):
            raise ImageError(
                f"{name} has the mode {image.mode!r}, whose range isn't "
                'known; bring it to 0..255 and give an array of uint8'
            )
        return np.asarray(image.convert('RGB'))


def _array_to_bgr(array: np.ndarray, name: str) -> np.ndarray:
    """``(H, W, 3)`` uint8 BGR of a grey or an RGB array."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    is_grey = array.ndim == 2
    is_color = array.ndim == 3 and array.shape[2] == 3
    if not (is_grey or is_color) or 0 in array.shape:
        hint = ''
        if array.ndim == 3 and array.shape[2] == 4:
            hint = ': leave transparency out with image[..., :3]'
        elif array.ndim == 3 and array.shape[0] == 3:
            hint = ': np.moveaxis(image, 0, -1) puts the channels last'
        raise ImageError(
            f'{name} has the shape {array.shape}; an array is (H, W) or '
            f'(H, W, 3) RGB{hint}'
        )
    if array.dtype.kind == 'u' and array.dtype.itemsize == 2:
        array = (array >> 8).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ImageError(
            f'{name} has the dtype {array.dtype}; an array is uint8 or '
            'uint16. Bring it to 0..255 and call .astype(np.uint8)'
        )
    if is_grey:
        array = np.stack([array] * 3, axis=-1)
    return np.ascontiguousarray(array[..., ::-1])
