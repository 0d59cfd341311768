# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Videos, frame by frame, with OpenCV."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from ..engine import UsageError

#: Suffixes of the files that count as videos, in lower case.
VIDEO_SUFFIXES = ('.mp4', '.m4v', '.mov', '.avi', '.mkv', '.webm', '.mpg')
CODEC = 'mp4v'  # MPEG-4, which OpenCV's wheels bring
USUAL_RATE = 25.0  # frames a second, where a file does not tell


class Video:
    """A video that is read once, from its start.

    Args:
        path: The file.

    Attributes:
        path: The file.
        rate: Frames a second.
        announced: How many frames the file says that it has; None if it does
            not say. Of some kinds of files OpenCV estimates it.
        count: How many frames have been read.

    Raises:
        UsageError: If OpenCV cannot open it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise UsageError(
                f'{path} cannot be opened as a video; its format may be one '
                'that OpenCV does not know, or it is damaged'
            )
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0 < rate < 1000 else USUAL_RATE
        announced = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.announced = announced if announced > 0 else None
        self.count = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        """Frames ``(H, W, 3)`` uint8 RGB, turned as the file says."""
        try:
            while True:
                found, frame = self._capture.read()
                if not found:
                    return
                self.count += 1
                yield np.ascontiguousarray(frame[..., ::-1])
        finally:
            self._capture.release()


class VideoWriter:
    """Writes an mp4 of pictures of one size.

    The format has even sizes: where a side is odd, its last pixels are
    repeated.

    Args:
        path: The new file.
        rate: Frames a second.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self._path = path
        self._rate = rate
        self._writer: cv2.VideoWriter | None = None

    def open(self, picture: np.ndarray) -> bool:
        """Begin the file.

        Args:
            picture: One of the size of all, ``(H, W, 3)``.

        Returns:
            Whether OpenCV has what it takes to write it.
        """
        height, width = _pad_to_even(picture).shape[:2]
        code = cv2.VideoWriter.fourcc(*CODEC)
        writer = cv2.VideoWriter(
            str(self._path), code, self._rate, (width, height)
        )
        if writer.isOpened():
            self._writer = writer
            return True
        self._path.unlink(missing_ok=True)
        return False

    def write(self, picture: np.ndarray) -> None:
        """Add a picture, ``(H, W, 3)`` uint8 RGB."""
        if self._writer is not None:
            bgr = _pad_to_even(picture)[..., ::-1]
            self._writer.write(np.ascontiguousarray(bgr))

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()


def _pad_to_even(picture: np.ndarray) -> np.ndarray:
    """Repeat the last row and column where there is an odd number."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), 'edge')
