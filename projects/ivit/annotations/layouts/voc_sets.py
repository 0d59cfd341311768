# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Which files of a Pascal VOC folder belong to which split."""

import os
from collections.abc import Collection
from pathlib import Path

from .folders import read_lines

#: Lists of a split, the first one that is there is taken. CVAT calls the list
#: of what has no split default.
LISTS = {
    'train': ('train', 'trainval', 'default'),
    'val': ('val', 'valid', 'validation'),
    'test': ('test',),
}


def read_sets(
    folder: Path, available: Collection[str], notes: list[str]
) -> dict[str, list[str]]:
    """Read the lists in ``ImageSets/Main`` or ``ImageSets/Segmentation``.

    Args:
        folder: The folder.
        available: The stems of the files that are annotated.
        notes: Where to say what was decided.

    Returns:
        The stems of each split, as they are listed. It is empty if there are
        no lists: then all is for training.
    """
    sets: dict[str, list[str]] = {}
    for split, names in LISTS.items():
        for name in names:
            path = folder / f'{name}.txt'
            if path.is_file():
                sets[split] = list(dict.fromkeys(read_set(path, available)))
                if name != split:
                    notes.append(f'{split} is what {name}.txt lists.')
                break
    for split in [split for split, stems in sets.items() if not stems]:
        notes.append(f'The list of {split} is empty.')
        del sets[split]
    if not sets:
        notes.append(
            f'{folder.parent.name}/{folder.name} has no lists of images; all '
            'are for training.'
        )
        return {}
    if not (folder / 'train.txt').is_file() and 'train' in sets:
        others = {
            stem
            for split, stems in sets.items()
            if split != 'train'
            for stem in stems
        }
        sets['train'] = [s for s in sets['train'] if s not in others]
    unlisted = set(available).difference(*sets.values())
    if unlisted:
        notes.append(
            f'{len(unlisted)} annotated images are in no list, and were left '
            f'out, as {min(unlisted)}.'
        )
    return {split: stems for split, stems in sets.items() if stems}


def read_set(path: Path, available: Collection[str]) -> list[str]:
    """The stems that a list has.

    CVAT puts those with blanks into quotation marks. Some lists have names
    with a suffix, or a flag behind each, as those of single classes do.

    Args:
        path: The list.
        available: The stems of the files that are annotated.
    """
    stems = []
    for line in read_lines(path):
        name = line.strip('"')
        without_flag = name.rsplit(maxsplit=1)[0]
        spellings = [name, without_flag]
        spellings += [os.path.splitext(one)[0] for one in spellings]
        stems.append(next((s for s in spellings if s in available), name))
    return stems
