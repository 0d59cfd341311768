# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Check images of classes: classes without any, and images twice."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..faults import FaultKind
from ..records import AnnotatedData, ClassificationSplit

NO_IMAGES = FaultKind(
    'warning',
    'class has no image in a split',
    'Put images there, or remove the class: what is not there is not learnt.',
)
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

Owner = tuple[str, int]


def check_classification(data: AnnotatedData, contents: bool) -> None:
    """Count the faults of classes.

    Args:
        data: Its ``faults`` are added to.
        contents: Also look for files of the same content in two classes or
            splits. It reads those that are of the same length.
    """
    owners: dict[Path, Owner] = {}
    for name, split in data.splits.items():
        if not isinstance(split, ClassificationSplit):
            continue
        numbers = Counter(label for _, label in split.samples)
        for index, label in enumerate(data.classes):
            if not numbers[index]:
                place = f'{data.root}, {name}: {label!r}'
                data.faults.add(NO_IMAGES, place)
        owners |= {path: (name, label) for path, label in split.samples}
    if not contents:
        return
    for group in find_equal_files(owners):
        first = group[0]
        for other in group[1:]:
            place = f'{first} and {other}'
            if owners[first][1] != owners[other][1]:
                data.faults.add(TWO_CLASSES, place)
            elif owners[first][0] != owners[other][0]:
                data.faults.add(TWO_SPLITS, place)


def find_equal_files(paths: Iterable[Path]) -> Iterator[list[Path]]:
    """Groups of files with the same content; those missing are passed over."""
    by_length = defaultdict(list)
    for path in paths:
        try:
            by_length[path.stat().st_size].append(path)
        except OSError:
            continue
    for alike in by_length.values():
        if len(alike) == 1:
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
