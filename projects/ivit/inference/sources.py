# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What the command line predicts: a file, a folder, a video or a list."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..annotations.files import IMAGE_SUFFIXES, list_images
from ..engine import UsageError
from .images import ImageLike
from .video import VIDEO_SUFFIXES, Video

STDIN = '-'


class Item(NamedTuple):
    """An image to predict.

    Attributes:
        name: What it is called in the tables that are written.
        image: The image, or its path.
    """

    name: str
    image: ImageLike


class Source(NamedTuple):
    """Images to predict.

    Attributes:
        items: The images, in order.
        total: How many there are; None if that is not known.
        video: The video that they are frames of, if they are.
    """

    items: Iterable[Item]
    total: int | None
    video: Video | None = None


def open_source(place: str, lines: Iterable[str]) -> Source:
    """Find the images.

    Args:
        place: Path of an image, a folder, whose images at any depth are
            taken, or a video; ``'-'`` for ``lines``.
        lines: A path each; empty lines do not count.

    Raises:
        UsageError: If there are no images, or the video cannot be opened.
    """
    if place == STDIN:
        paths = [line.rstrip('\r\n') for line in lines if line.strip()]
        if not paths:
            raise UsageError('stdin has no paths; give one a line')
        return Source([Item(path, path) for path in paths], len(paths))
    path = Path(place).expanduser()
    if path.is_dir():
        found = list_images(path)
        if not found:
            raise UsageError(
                f'{path} has no images; these are files with the suffixes '
                f'{", ".join(IMAGE_SUFFIXES)}'
            )
        items = [
            Item(file.relative_to(path).as_posix(), file) for file in found
        ]
        return Source(items, len(items))
    if not path.exists():
        raise UsageError(
            f'{path.absolute()} does not exist; give an image, a folder, a '
            f'video or {STDIN} for paths from stdin'
        )
    if path.suffix.lower() in VIDEO_SUFFIXES:
        video = Video(path)
        return Source(_name_frames(video), video.announced, video)
    return Source([Item(path.name, path)], 1)


def _name_frames(video: Video) -> Iterator[Item]:
    """Frames, called by their numbers from 1."""
    for number, frame in enumerate(video, 1):
        yield Item(f'{video.path.name}/{number:06d}', frame)
