# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What the head and the tail of an image file tell, without its pixels."""

import os
import struct
from pathlib import Path
from typing import IO, NamedTuple

import mmcv
import numpy as np
from PIL import Image, UnidentifiedImageError

Size = tuple[int, int]

#: What Pillow raises on files that are broken in one way or another.
READ_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    Image.DecompressionBombError,
)
ORIENTATION = 0x0112  # the EXIF tag
BITS_PER_SAMPLE = 258  # the TIFF tag
# OpenCV turns these by their EXIF data. It turns TIFF files whatever it is
# asked for, as Pillow does, and WebP files never.
TURNED_FORMATS = ('JPEG', 'MPO', 'PNG')
ON_THEIR_SIDE = (5, 6, 7, 8)
# How files of these formats end. Some cameras write more behind it.
END_MARKS = {'JPEG': b'\xff\xd9', 'MPO': b'\xff\xd9', 'PNG': b'IEND'}
USUAL_FORMATS = ('JPEG', 'MPO', 'PNG', 'BMP', 'TIFF', 'WEBP')
TAIL = 4096  # bytes
MODES = {1: 'L', 3: 'RGB', 4: 'RGBA'}


class ImageHead(NamedTuple):
    """What is known of an image before it is decoded.

    Attributes:
        size: Width and height as they are stored.
        orientation: By EXIF, 1 to 8; 1 is upright.
        mode: Pillow's name for its channels, such as ``'RGB'``.
        is_deep: Whether its numbers have more than 8 bits.
        has_alpha: Whether it is transparent in places.
        is_whole: Whether the file has its end.
    """

    size: Size
    orientation: int = 1
    mode: str = 'RGB'
    is_deep: bool = False
    has_alpha: bool = False
    is_whole: bool = True

    @property
    def turned_size(self) -> Size:
        """Width and height after it was turned by its EXIF data."""
        width, height = self.size
        on_side = self.orientation in ON_THEIR_SIDE
        return (height, width) if on_side else (width, height)


def read_head(path: Path, look_at_end: bool = True) -> ImageHead:
    """Read the head and the tail of an image file.

    A file of a format whose end has no mark is decoded to see if it is
    whole, and so is one without its mark. One of a format that few programs
    know is decoded by OpenCV, which training reads it with.

    Args:
        path: The file.
        look_at_end: Whether the file is looked at beyond its head.

    Raises:
        OSError: If neither Pillow nor OpenCV can read it, or training could
            not.
    """
    try:
        with path.open('rb') as file, Image.open(file) as image:
            head = _describe(file, image)
            format_name = image.format or ''
            if not look_at_end or _has_end_mark(file, format_name):
                return head
    except READ_ERRORS as error:
        return _read_with_opencv(path, error)
    if format_name not in USUAL_FORMATS:
        problem = f'OpenCV does not read the format {format_name}'
        return _read_with_opencv(path, OSError(problem))
    try:
        with Image.open(path) as image:
            image.load()
    except READ_ERRORS:
        return head._replace(is_whole=False)
    return head


def _describe(file: IO[bytes], image: Image.Image) -> ImageHead:
    mode = image.mode
    return ImageHead(
        image.size,
        _read_orientation(image),
        mode,
        mode.startswith(('I', 'F')) or _has_deep_samples(file, image),
        mode.endswith(('A', 'a')) or 'transparency' in image.info,
    )


def _read_orientation(image: Image.Image) -> int:
    # Without this key Pillow decodes a PNG to look for EXIF data behind it.
    if image.format not in TURNED_FORMATS or 'exif' not in image.info:
        return 1
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except READ_ERRORS:
        return 1  # OpenCV passes over broken EXIF data, too
    return orientation if orientation in range(1, 9) else 1


def _has_deep_samples(file: IO[bytes], image: Image.Image) -> bool:
    """Whether a file has 16 bits that Pillow makes 8 of, as it does in RGB."""
    if image.format == 'PNG':
        file.seek(24)  # behind signature, head of the first chunk and size
        return file.read(1) == b'\x10'
    bits = getattr(image, 'tag_v2', {}).get(BITS_PER_SAMPLE, (8,))
    return max(bits) > 8 if isinstance(bits, tuple) else bits > 8


def _has_end_mark(file: IO[bytes], format_name: str) -> bool:
    mark = END_MARKS.get(format_name)
    if mark is None:
        return False
    length = file.seek(0, os.SEEK_END)
    file.seek(max(0, length - TAIL))
    return mark in file.read()


def _read_with_opencv(path: Path, error: Exception) -> ImageHead:
    """Decode what Pillow cannot read, such as TIFF of 3 x 16 bits."""
    try:
        pixels = mmcv.imread(path, flag='unchanged')
    except Exception:  # OpenCV's error has a class of its own
        pixels = None
    if pixels is None:
        problem = str(error)
        if isinstance(error, UnidentifiedImageError):
            is_empty = path.stat().st_size == 0
            problem = 'is empty' if is_empty else 'is of no format of images'
        raise OSError(f'{path}: {problem}') from error
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    return ImageHead(
        (width, height),
        mode=MODES.get(channels, f'{channels} channels'),
        is_deep=pixels.dtype != np.uint8,
        has_alpha=channels == 4,
    )
