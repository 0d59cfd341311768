# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What the command line predicts: a file, a folder, a video or a list."""

from collections.abc import Iterable, Iterator, Sequence
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


def open_source(places: Sequence[str], lines: Iterable[str]) -> Source:
    """Find the images.

    Args:
        places: Paths of images; or one path, of a folder, whose images at
            any depth are taken, or of a video; or ``'-'`` for ``lines``.
        lines: A path each; empty lines do not count.

    Raises:
        UsageError: If there are no images, or the video cannot be opened.
    """
    if len(places) > 1:
        return _list_files(places)
    (place,) = places
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
    _check_exists(path)
    if _is_video(path):
        video = Video(path)
        return Source(_name_frames(video), video.announced, video)
    return Source([Item(path.name, path)], 1)


def _list_files(places: Sequence[str]) -> Source:
    """Several images, such as ``*.jpg`` becomes in a shell."""
    items = []
    for place in places:
        path = Path(place).expanduser()
        if place == STDIN or path.is_dir() or _is_video(path):
            raise UsageError(
                f'{place} is not an image; give several images, or one '
                f'folder, one video or {STDIN} alone'
            )
        _check_exists(path)
        items.append(Item(place, path))
    return Source(items, len(items))


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise UsageError(
            f'{path.absolute()} does not exist; give an image, a folder, a '
            f'video or {STDIN} for paths from stdin'
        )


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _name_frames(video: Video) -> Iterator[Item]:
    """Frames, called by their numbers from 1."""
    for number, frame in enumerate(video, 1):
        yield Item(f'{video.path.name}/{number:06d}', frame)
