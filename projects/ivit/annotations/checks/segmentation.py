# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Check label maps: that they can be read, fit, and store known values."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..faults import FaultKind
from ..file_faults import (
    MAP_FRACTIONS,
    MAP_SIZE,
    MAP_UNREADABLE,
    MAP_VALUES,
)
from ..image_files import READ_ERRORS, read_head
from ..label_maps import (
    IGNORED,
    Color,
    LabelEncoding,
    pack_colors,
    read_stored,
    unpack_color,
)
from ..records import AnnotatedData, SegmentationSplit
from .images import WRONG_SIZE, compare_size, describe_sizes
from .sweep import Seen, sweep

MISSING = FaultKind(
    'error',
    'image has no label map',
    'Put the label map there, or take the image out.',
)
COLORS = FaultKind(
    'error',
    'label map has colours where numbers of classes are expected',
    'Save it with one channel or a palette, whose numbers are the classes.',
)
ONLY_IGNORED = FaultKind(
    'warning',
    'label map has nothing but ignored pixels',
    'Nothing is learnt from it: annotate the image or take it out.',
)
BINARY_IGNORED = FaultKind(
    'warning',
    'label maps have 0 and 255 alone, and 255 is ignored by default: it is no '
    'class, and there is nothing to tell 0 from',
    'Write 1 for 255 in the label maps. Or let `ivit train --data FOLDER` do '
    'it: without a list of classes, or with one of two plain names, 255 is '
    'the second class.',
)
UNUSED_CLASS = FaultKind(
    'warning',
    'class occurs in no label map of a split',
    'Annotate some pixels, or remove it: what is not there is not learnt '
    'and has no IoU.',
)

SHOWN = 8  # values


class LabelContent(NamedTuple):
    """What a look at an image and its label map gave.

    Attributes:
        faults: Kinds and places.
        pixels: Number of pixels by index of class, :data:`IGNORED` included.
    """

    faults: list[tuple[FaultKind, str]]
    pixels: dict[int, int]


def check_segmentation(
    data: AnnotatedData,
    seconds: float | None = None,
    title: str | None = None,
) -> Seen:
    """Count the faults in label maps.

    Args:
        data: Its ``faults`` are added to.
        seconds: After as many no further label map is read. Classes that do
            not occur are faults only if all were read.
        title: Of a progress bar on stderr; None for no bar.

    Returns:
        How many label maps were read of how many.
    """
    encoding = data.encoding or LabelEncoding()
    pairs, owners = [], []
    for name, split in data.splits.items():
        if isinstance(split, SegmentationSplit):
            pairs += split.pairs
            owners += [name] * len(split)
    contents = sweep(
        pairs, lambda pair: read_pair(*pair, encoding), seconds, title
    )
    used: dict[str, set[int]] = {name: set() for name in owners}
    for position, content in contents.items():
        used[owners[position]].update(content.pixels)
        for kind, place in content.faults:
            data.faults.add(kind, place, pairs[position][1])
    seen = Seen(len(contents), len(pairs))
    occurring = set().union(*used.values())
    if occurring == {0, IGNORED} and encoding.values.get(IGNORED) == IGNORED:
        data.faults.add(BINARY_IGNORED, data.root)
    if seen.is_all:
        for name, found in used.items():
            for index, label in enumerate(data.classes):
                if found and index not in found:
                    place = f'{data.root}, {name}: {label!r}'
                    data.faults.add(UNUSED_CLASS, place)
    return seen


def read_pair(
    image: Path, label_map: Path, encoding: LabelEncoding
) -> LabelContent:
    """Look at an image's head and at all of its label map."""
    try:
        stored = read_stored(label_map, encoding.colors is not None)
    except FileNotFoundError:
        place = f'{image}: {label_map} is missing'
        return LabelContent([(MISSING, place)], {})
    except READ_ERRORS as error:
        is_colored = _has_channels(label_map)
        kind = COLORS if is_colored else MAP_UNREADABLE
        return LabelContent([(kind, f'{label_map}: {error}')], {})
    if stored.dtype.kind == 'f':
        return LabelContent([(MAP_FRACTIONS, str(label_map))], {})
    faults = _compare_sizes(image, label_map, (stored.shape[1], len(stored)))
    pixels, unknown = count_classes(stored, encoding)
    if unknown:
        place = (
            f'{label_map} has {_list_values(unknown)}; expected '
            f'{_list_values(_known(encoding))}'
        )
        faults.append((MAP_VALUES, place))
    elif set(pixels) <= {IGNORED}:
        faults.append((ONLY_IGNORED, str(label_map)))
    return LabelContent(faults, pixels)


def count_classes(
    stored: np.ndarray, encoding: LabelEncoding
) -> tuple[dict[int, int], list[int | Color]]:
    """Count the pixels of classes.

    Args:
        stored: What a label map stores, as of
            :func:`ivit.annotations.label_maps.read_stored`.
        encoding: What it means.

    Returns:
        Number of pixels by index of class, :data:`IGNORED` included, and
        the values that are not known.
    """
    codes = pack_colors(stored) if stored.ndim == 3 else stored
    if codes.dtype == np.uint8:  # many times as fast as sorting
        numbers = np.bincount(codes.ravel(), minlength=256)
        values = np.flatnonzero(numbers)
        numbers = numbers[values]
    else:
        values, numbers = np.unique(codes, return_counts=True)
    pixels: dict[int, int] = {}
    unknown: list[int | Color] = []
    for value, number in zip(values.tolist(), numbers.tolist(), strict=True):
        if stored.ndim == 3:
            key: int | Color = unpack_color(value)
            index = (encoding.colors or {}).get(unpack_color(value))
        else:
            key, index = int(value), encoding.values.get(int(value))
        if index is None:
            unknown.append(key)
        else:
            pixels[index] = pixels.get(index, 0) + number
    return pixels, unknown


def _compare_sizes(
    image: Path, label_map: Path, size: tuple[int, int]
) -> list[tuple[FaultKind, str]]:
    try:
        head = read_head(image)
    except OSError:
        return []  # the check of images tells
    kind = compare_size(head, size)
    if kind is None:
        return []
    place = f'{label_map}, {describe_sizes(image, head, size)}'
    return [(MAP_SIZE if kind is WRONG_SIZE else kind, place)]


def _has_channels(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return len(image.getbands()) > 1
    except READ_ERRORS:
        return False


def _known(encoding: LabelEncoding) -> Iterable[int | Color]:
    return encoding.values if encoding.colors is None else encoding.colors


def _list_values(values: Iterable[int | Color]) -> str:
    """Values in words; numbers without a gap as ``0..18``."""
    numbers = sorted(v for v in values if isinstance(v, int))
    parts = []
    start = 0
    for i, number in enumerate(numbers):
        if i + 1 == len(numbers) or numbers[i + 1] != number + 1:
            first = numbers[start]
            parts.append(
                str(number) if first == number else f'{first}..{number}'
            )
            start = i + 1
    parts += [str(v) for v in values if not isinstance(v, int)]
    more = len(parts) - SHOWN
    shown = ', '.join(parts[:SHOWN])
    return f'{shown} and {more} more' if more > 0 else shown
