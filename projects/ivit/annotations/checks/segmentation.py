# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Check label maps: sizes and values."""

import random
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from ..faults import FaultKind
from ..label_maps import IGNORED, LabelEncoding
from ..records import AnnotatedData, SegmentationSplit

UNREADABLE_MAP = FaultKind(
    'error', 'label map cannot be read', 'Replace it, or take it out.'
)
COLORED_MAP = FaultKind(
    'error',
    'label map has colours where numbers of classes are expected',
    'Save one channel with the numbers: `ivit train --data` does it for a '
    'folder with a palette.',
)
UNKNOWN_VALUE = FaultKind(
    'error',
    'label map has values without a class',
    'Name their classes, or set them to 255, which is left out.',
)
OTHER_SIZE_MAP = FaultKind(
    'error',
    'label map has another size than its image',
    'They have to match pixel by pixel.',
)
EMPTY_MAP = FaultKind(
    'warning', 'label map has no class at all', 'Nothing is learnt from it.'
)
ABSENT_CLASS = FaultKind(
    'warning',
    'class occurs in no label map',
    'Nothing is learnt of it. A value of 255 means left out.',
)
NO_MAPS = FaultKind(
    'error', 'there is no image to train on', 'Is it the right folder?'
)
WORKERS = 4


def check_segmentation(
    data: AnnotatedData, sample: int | None = None, progress: str = ''
) -> None:
    """Check the label maps of every split.

    Args:
        data: A segmentation data set; its ``faults`` get what is wrong.
        sample: How many maps of a split to read, drawn from a seed; all by
            default.
        progress: What the progress bar on stderr says; without it there is
            none.
    """
    encoding = data.encoding or LabelEncoding()
    present: Counter[int] = Counter()
    complete = True
    for name, split in data.splits.items():
        if not isinstance(split, SegmentationSplit):
            continue
        if not split.pairs and name == 'train':
            data.faults.add(NO_MAPS, split.image_root)
        pairs = list(split.pairs)
        if sample is not None and len(pairs) > sample:
            pairs = sorted(random.Random(0).sample(pairs, sample))
            complete = False
        with ThreadPoolExecutor(WORKERS) as pool:
            results: Iterable = pool.map(
                lambda pair: _examine(*pair, encoding), pairs
            )
            if progress:
                console = Console(file=sys.stderr)
                results = track(results, progress, len(pairs), console=console)
            for faults, classes in results:
                for kind, place in faults:
                    data.faults.add(kind, place)
                present.update(classes)
    if complete and present:
        for index, name in enumerate(data.classes):
            if index not in present:
                data.faults.add(ABSENT_CLASS, repr(name))


def _examine(
    image: Path, path: Path, encoding: LabelEncoding
) -> tuple[list[tuple[FaultKind, str]], set[int]]:
    """What is wrong with a label map, and the classes in it."""
    try:
        indices, unknown = encoding.decode(path)
    except ValueError as error:  # of more channels than one
        return [(COLORED_MAP, str(error))], set()
    except OSError as error:
        return [(UNREADABLE_MAP, f'{path} ({error})')], set()
    faults = []
    if unknown:
        known = encoding.values
        if encoding.colors is not None:
            known = encoding.colors
        expected = sorted(known)
        faults.append(
            (
                UNKNOWN_VALUE,
                f'{path} has {_listed(unknown)}; expected are '
                f'{_listed(expected)}',
            )
        )
    try:
        with Image.open(image) as opened:
            size = opened.size
    except Exception:  # the check of images tells of it
        size = indices.shape[::-1]
    if indices.shape != size[::-1]:
        width_height = indices.shape[::-1]
        faults.append((OTHER_SIZE_MAP, f'{path} ({width_height}, not {size})'))
    classes = {int(index) for index in np.unique(indices)} - {IGNORED}
    if not classes and not unknown:
        faults.append((EMPTY_MAP, str(path)))
    return faults, classes


def _listed(values: list, most: int = 8) -> str:
    """Values in one line, not too many."""
    shown = ', '.join(map(str, values[:most]))
    return f'{shown} ...' if len(values) > most else shown
