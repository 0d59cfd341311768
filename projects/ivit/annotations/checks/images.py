# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Check image files by their heads and tails."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ..faults import FaultKind, Faults
from ..file_faults import (
    EXIF_UNCLEAR,
    IGNORE_EXIF,
    IMAGE_MISSING,
    IMAGE_UNREADABLE,
)
from ..image_files import ImageHead, Size, read_head
from .sweep import Seen, sweep

CUT_OFF = FaultKind(
    'error',
    'image file is cut off',
    'Copy it anew: what is missing is read as grey or black.',
)
WRONG_SIZE = FaultKind(
    'error',
    'image has not the size that its annotations give',
    'Put back the image that was annotated, or correct width and height.',
)
#: The loader turns the image and the annotations are of the stored pixels.
EXIF_TURNED = FaultKind(
    'error',
    'image is turned by its EXIF orientation, its annotations are not',
    IGNORE_EXIF,
)
DEEP = FaultKind(
    'warning',
    'image has more than 8 bits and is read with 8: it may be nearly black',
    "Read it with color_type='unchanged' in LoadImageFromFile and adapt mean "
    'and std, or scale it to 8 bits.',
)
GREY = FaultKind(
    'warning',
    'image is grey',
    'Nothing has to be done: it is read as three equal channels.',
)
ALPHA = FaultKind(
    'warning',
    'image has transparency',
    'It is left out in reading: see that what lies below is the picture.',
)
PALETTE = FaultKind(
    'warning',
    'image has a palette',
    'Nothing has to be done: it is read as RGB.',
)
CMYK = FaultKind(
    'warning',
    'image is for print (CMYK)',
    'It is read as RGB; colours may be off. Convert it if they are.',
)
OF_MODES = {'1': GREY, 'L': GREY, 'LA': GREY, 'La': GREY}
OF_MODES |= {'P': PALETTE, 'PA': PALETTE, 'CMYK': CMYK, 'YCCK': CMYK}


def check_images(
    sizes: Mapping[str, Size | None],
    faults: Faults,
    seconds: float | None = None,
    title: str | None = None,
) -> Seen:
    """Check that image files are there, whole and of a kind that is usual.

    Args:
        sizes: Width and height of each file by its annotations; None where
            they give none. EXIF orientations matter only where there are
            some.
        faults: Where to count faults.
        seconds: After as many no further file is opened. Whether files are
            there is looked up for all of them.
        title: Of a progress bar on stderr; None for no bar.

    Returns:
        How many files were opened of how many.
    """
    missing = dict(find_missing(sizes))
    for path, hint in missing.items():
        faults.add(IMAGE_MISSING, f'{path}{hint}', Path(path))
    present = [path for path in sizes if path not in missing]

    def look(path: str) -> list[tuple[FaultKind, str]]:
        return list(find_faults(Path(path), sizes[path]))

    seen = sweep(present, look, seconds, title)
    for position, found in seen.items():
        for kind, place in found:
            faults.add(kind, place, Path(present[position]))
    return Seen(len(seen), len(present))


def find_missing(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Files that are not there, each with a hint at one that is.

    Each folder is listed once, which takes a fraction of asking for every
    file.
    """
    folders: dict[str, set[str]] = {}
    in_lower_case: dict[str, dict[str, str]] = {}
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = _list_files(folder)
        if name not in folders[folder]:
            if folder not in in_lower_case:
                in_lower_case[folder] = {
                    n.casefold(): n for n in folders[folder]
                }
            near = in_lower_case[folder].get(name.casefold())
            yield path, f' (there is {near})' if near else ''


def _list_files(folder: str) -> set[str]:
    try:
        with os.scandir(folder or '.') as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except OSError:
        return set()


def find_faults(
    path: Path, annotated: Size | None
) -> Iterator[tuple[FaultKind, str]]:
    """The faults of an image file that is there.

    Args:
        path: The file.
        annotated: Its width and height by its annotations, if they have any.

    Yields:
        Kinds and places.
    """
    try:
        head = read_head(path)
    except OSError as error:
        yield IMAGE_UNREADABLE, str(error)
        return
    if not head.is_whole:
        yield CUT_OFF, str(path)
    if annotated is not None:
        kind = compare_size(head, annotated)
        if kind is not None:
            yield kind, describe_sizes(path, head, annotated)
    if head.is_deep:
        yield DEEP, f'{path} ({head.mode})'
    if head.mode in OF_MODES:
        yield OF_MODES[head.mode], str(path)
    if head.has_alpha:
        yield ALPHA, f'{path} ({head.mode})'


def compare_size(head: ImageHead, annotated: Size) -> FaultKind | None:
    """What is wrong between an image and the size of its annotations."""
    if annotated not in (head.size, head.turned_size):
        return WRONG_SIZE
    if head.orientation == 1:
        return None
    if head.size == head.turned_size:
        return EXIF_UNCLEAR
    return EXIF_TURNED if annotated == head.size else None


def describe_sizes(path: Path, head: ImageHead, annotated: Size) -> str:
    """A place for a fault of sizes."""
    turned = (
        f' (EXIF orientation {head.orientation})'
        if head.orientation != 1
        else ''
    )
    return (
        f'{path}: {head.size[0]} x {head.size[1]}{turned}, annotated as '
        f'{annotated[0]} x {annotated[1]}'
    )
