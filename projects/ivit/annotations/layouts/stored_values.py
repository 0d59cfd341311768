# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Look at a sample of label maps for the values that they store."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from .. import file_faults
from ..faults import Faults
from ..label_maps import Color, pack_colors, read_stored, unpack_color
from . import fault_kinds
from .folders import read_image_size

#: How many label maps are read; a set of more is sampled, always the same.
MAX_READ = 200
#: As many different values as no label maps have: smooth edges, photographs.
TOO_MANY = 1000


@dataclass
class StoredValues:
    """What the label maps of a sample store.

    Attributes:
        numbers: The numbers, and the first file that has each; in order.
        colors: The same for RGB colours, if some files store colours.
            ``numbers`` is empty then.
        palette: The palette of the first file that has one.
        read: Number of label maps in the sample.
        total: Number of all.
    """

    total: int
    read: int = 0
    numbers: dict[int, Path] = field(default_factory=dict)
    colors: dict[Color, Path] | None = None
    palette: list[Color] | None = None

    @property
    def is_partial(self) -> bool:
        """Whether some label maps were not read."""
        return self.read < self.total


def read_values(
    pairs: Sequence[tuple[Path, Path]], faults: Faults
) -> StoredValues:
    """Read a sample of label maps.

    Args:
        pairs: Images and their label maps.
        faults: Where to count files that cannot be read, and label maps of
            another size than their image.
    """
    if len(pairs) > MAX_READ:
        sample = sorted(random.Random(0).sample(list(pairs), MAX_READ))
    else:
        sample = list(pairs)
    stored = StoredValues(total=len(pairs), read=len(sample))
    readable = []
    has_colors = False
    for image, label_map in sample:
        if not check_pair(image, label_map, faults):
            continue
        readable.append(label_map)
        with Image.open(label_map) as opened:
            has_colors |= len(opened.getbands()) > 1
            if stored.palette is None and opened.mode == 'P':
                stored.palette = split_palette(opened.getpalette() or [])
    first_files = collect_codes(readable, has_colors, faults)
    if has_colors:
        stored.colors = {
            unpack_color(code): path for code, path in first_files.items()
        }
    else:
        stored.numbers = first_files
    return stored


def check_pair(image: Path, label_map: Path, faults: Faults) -> bool:
    """Count what the headers show, and say if the label map has one."""
    try:
        map_size = read_image_size(label_map)
    except OSError:
        faults.add(file_faults.MAP_UNREADABLE, label_map, label_map)
        return False
    if label_map.suffix.lower() in ('.jpg', '.jpeg'):
        faults.add(fault_kinds.MAP_LOSSY, label_map)
    try:
        image_size = read_image_size(image)
    except OSError:
        faults.add(file_faults.IMAGE_UNREADABLE, image, image)
        return True
    if map_size != image_size:
        faults.add(
            file_faults.MAP_SIZE,
            f'{label_map}: {map_size[0]} x {map_size[1]} instead of '
            f'{image_size[0]} x {image_size[1]}',
            label_map,
        )
    return True


def collect_codes(
    files: Sequence[Path], as_colors: bool, faults: Faults
) -> dict[int, Path]:
    """The values of label maps, in order, and the first file with each.

    It stops at :data:`TOO_MANY` values. Colours are packed.
    """
    first_files: dict[int, Path] = {}
    for path in files:
        try:
            codes = read_stored(path, as_colors)
        except (OSError, ValueError, SyntaxError):
            # Pillow raises the latter two on broken files of some formats.
            faults.add(file_faults.MAP_UNREADABLE, path, path)
            continue
        if codes.dtype.kind == 'f':
            faults.add(file_faults.MAP_FRACTIONS, path, path)
            continue
        if as_colors:
            codes = pack_colors(codes)
        # Sorting what is new alone is much faster than sorting all.
        known = np.array(list(first_files), np.int64)
        fresh = codes[~np.isin(codes, known)]
        first_files |= {int(code): path for code in np.unique(fresh)}
        if len(first_files) > TOO_MANY:
            break
    return dict(sorted(first_files.items()))


def split_palette(parts: Sequence[int]) -> list[Color]:
    """Colours from red, green and blue in turns."""
    return list(zip(parts[::3], parts[1::3], parts[2::3], strict=False))
