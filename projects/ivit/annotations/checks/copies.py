# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Look for images that are there twice, by what is in the files."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..faults import FaultKind
from ..records import AnnotatedData, ClassificationSplit

TWO_CLASSES = FaultKind(
    'warning',
    'same image is in two classes',
    'Keep the one in the right class.',
)
TWO_SPLITS = FaultKind(
    'warning',
    'same image is in two splits',
    'Keep one: results on images that were trained on say little.',
)

CHUNK = 1 << 20  # bytes


def check_copies(data: AnnotatedData) -> None:
    """Count files of the same content in two splits or two classes.

    Files of the same length are read for it.

    Args:
        data: Its ``faults`` are added to.
    """
    owners: dict[Path, tuple[str, int | None]] = {}
    for name, split in data.splits.items():
        if isinstance(split, ClassificationSplit):
            owners |= {path: (name, label) for path, label in split.samples}
        else:
            owners |= dict.fromkeys(split.images, (name, None))
    for group in find_equal_files(owners):
        first = group[0]
        for other in group[1:]:
            place = f'{first} and {other}'
            if owners[first][1] != owners[other][1]:
                data.faults.add(TWO_CLASSES, place)
            elif owners[first][0] != owners[other][0]:
                data.faults.add(TWO_SPLITS, place)


def find_equal_files(paths: Iterable[Path]) -> Iterator[list[Path]]:
    """Groups of files with the same content; the missing and empty apart."""
    by_length = defaultdict(list)
    for path in paths:
        try:
            by_length[path.stat().st_size].append(path)
        except OSError:
            continue
    for length, alike in by_length.items():
        if len(alike) == 1 or not length:
            continue
        by_hash = defaultdict(list)
        for path in alike:
            try:
                by_hash[_hash(path)].append(path)
            except OSError:
                continue
        yield from (group for group in by_hash.values() if len(group) > 1)


def _hash(path: Path) -> bytes:
    digest = hashlib.blake2b()
    with path.open('rb') as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.digest()
