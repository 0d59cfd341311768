# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Check image files by what their first and last bytes tell."""

import os
import random
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError
from rich.console import Console
from rich.progress import track

from ..faults import FaultKind, Faults

MISSING = FaultKind(
    'error',
    'image file is missing',
    'Put it there, or take it out of the annotations.',
)
UNREADABLE = FaultKind(
    'error', 'image file cannot be read', 'Replace it, or take it out.'
)
CUT_OFF = FaultKind(
    'error',
    'image file is cut off',
    'Its end is missing: copy it again, or take it out.',
)
OTHER_SIZE = FaultKind(
    'error',
    'image has another size than its annotations say',
    'Boxes and masks would be off: correct width and height, or the file.',
)
TURNED_BY_EXIF = FaultKind(
    'error',
    'image is turned by its EXIF orientation, and was annotated as stored',
    "Load it as stored: LoadImageFromFile with color_type='"
    "color_ignore_orientation' in every pipeline, or save it turned and "
    'without the tag.',
)
EXIF = FaultKind(
    'warning',
    'image has an EXIF orientation',
    'It is turned when it is read. See that it was annotated turned, too.',
)
HIGH_BIT_DEPTH = FaultKind(
    'warning',
    'image has more than 8 bits (16-bit or float)',
    "It is read with 8 bits, and may be nearly black: color_type='unchanged' "
    'of LoadImageFromFile keeps the values; mean and std of the '
    'data_preprocessor have to be of their size then.',
)
OTHER_MODE = FaultKind(
    'warning',
    'image is not RGB (grey, palette, alpha or CMYK)',
    'It is made RGB when it is read; transparency is lost.',
)

ORIENTATION = 274
# Orientations from here on swap width and height.
FIRST_THAT_SWAPS = 5
HIGH_MODES = ('I', 'F', 'I;16', 'I;16B', 'I;16L', 'I;16N')
# How a whole file of a format ends; some writers pad it.
ENDS = {'JPEG': b'\xff\xd9', 'PNG': b'IEND\xaeB`\x82'}
TAIL = 4096
WORKERS = 8
CHUNK = 64


class ExpectedImage(NamedTuple):
    """An image, and the size that its annotations are for.

    Attributes:
        path: The file.
        size: Width and height, in pixels, where the annotations tell.
    """

    path: Path
    size: tuple[int, int] | None = None


def check_images(
    images: Sequence[ExpectedImage],
    faults: Faults,
    seconds: float | None = None,
    progress: str = '',
) -> int:
    """Check that images are there and whole, and how they are stored.

    Whether a file is there is asked of all. What it holds is read from its
    header and its end, without decoding it.

    Args:
        images: The images.
        faults: Gets what is wrong.
        seconds: How long it may take to open files, which are then taken in
            an order drawn from a seed; all are opened by default.
        progress: What the progress bar on stderr says; without it there is
            none.

    Returns:
        How many files were opened.
    """
    there = []
    present = _list_files(image.path.parent for image in images)
    for image in images:
        if str(image.path) in present:
            there.append(image)
        else:
            faults.add(MISSING, image.path)
    if seconds is not None:
        random.Random(0).shuffle(there)
    deadline = None if seconds is None else time.monotonic() + seconds
    chunks = [there[i : i + CHUNK] for i in range(0, len(there), CHUNK)]
    opened = 0
    found: list[tuple[FaultKind, str]] = []

    def look_at(chunk: list[ExpectedImage]) -> tuple[int, list]:
        if deadline is not None and time.monotonic() > deadline:
            return 0, []
        return len(chunk), [fault for i in chunk for fault in examine(i)]

    with ThreadPoolExecutor(WORKERS) as pool:
        results: Iterable = pool.map(look_at, chunks)
        if progress:
            console = Console(file=sys.stderr)
            results = track(results, progress, len(chunks), console=console)
        for number, faults_of_chunk in results:
            opened += number
            found += faults_of_chunk
    for kind, place in sorted(found, key=lambda fault: fault[1]):
        faults.add(kind, place)
    return opened


def examine(image: ExpectedImage) -> list[tuple[FaultKind, str]]:
    """What is wrong with an image file that is there, and where."""
    path = image.path
    try:
        with Image.open(path) as opened:
            mode, size = opened.mode, opened.size
            if not _is_whole(path, opened.format):
                return [(CUT_OFF, str(path))]
            turn = opened.getexif().get(ORIENTATION, 1)
    except UnidentifiedImageError:
        empty = path.stat().st_size == 0
        return [(UNREADABLE, f'{path} ({"empty" if empty else "no image"})')]
    except Exception as error:  # Pillow raises many kinds on broken files
        return [(UNREADABLE, f'{path} ({type(error).__name__}: {error})')]
    faults = []
    kind_of_size = _judge_size(image.size, size, turn)
    if kind_of_size is not None:
        expected = (
            f', not {_shown(image.size)}' if kind_of_size is OTHER_SIZE else ''
        )
        faults.append((kind_of_size, f'{path} ({_shown(size)}{expected})'))
    if mode in HIGH_MODES:
        faults.append((HIGH_BIT_DEPTH, f'{path} ({mode})'))
    elif mode != 'RGB':
        faults.append((OTHER_MODE, f'{path} ({mode})'))
    return faults


def _judge_size(
    expected: tuple[int, int] | None, stored: tuple[int, int], turn: int
) -> FaultKind | None:
    """What is wrong with the size or the orientation of an image.

    Args:
        expected: The size in the annotations.
        stored: The size of the file.
        turn: Its EXIF orientation; 1 is upright.
    """
    swaps = turn >= FIRST_THAT_SWAPS
    turned = stored[::-1] if swaps else stored
    if expected not in (None, stored, turned):
        return OTHER_SIZE
    if turn == 1 or (swaps and expected == turned != stored):
        return None
    if swaps and expected == stored != turned:
        return TURNED_BY_EXIF
    return EXIF


def _shown(size: tuple[int, int]) -> str:
    return f'{size[0]} x {size[1]}'


def _list_files(folders: Iterable[Path]) -> set[str]:
    """The paths of all files in folders, each of which is listed once."""
    files: set[str] = set()
    for folder in set(folders):
        try:
            with os.scandir(folder) as entries:
                files |= {
                    os.path.join(folder, entry.name)
                    for entry in entries
                    if not entry.is_dir()
                }
        except OSError:
            continue
    return files


def _is_whole(path: Path, kind: str | None) -> bool:
    """Whether a file has its end."""
    if kind not in ENDS:
        with Image.open(path) as image:
            image.verify()  # what Pillow can tell without decoding
        if kind == 'TIFF':
            with Image.open(path) as image:
                image.load()
        return True
    with path.open('rb') as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
        return ENDS[kind] in file.read()
