# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Folders of images and folders of label maps, with or without splits.

``images/train`` and ``labels/train``, ``train/images`` and ``train/masks``,
or ``images`` and ``masks``, in the spellings below and in any case. An image
and its label map have the same name, but for the suffix and for endings such
as ``_mask``.
"""

from collections.abc import Container
from pathlib import Path

from ..faults import Faults
from ..records import AnnotatedData, SegmentationSplit, Split
from .class_names import find_class_names
from .encodings import decide_meaning
from .folders import (
    SPLIT_NAMES,
    common_folder,
    find_child,
    first_file,
    list_folders,
    require_train,
)
from .layout import Layout
from .map_pairs import MAP_SUFFIXES, pair_maps
from .stored_values import read_values

IMAGE_FOLDERS = ('images', 'image', 'imgs', 'img', 'img_dir', 'leftimg8bit')
MAP_FOLDERS = (
    'labels',
    'label',
    'masks',
    'mask',
    'annotations',
    'ann_dir',
    'gtfine',
)


def find(root: Path) -> str | None:
    """Look for a folder of images and one of label maps for training."""
    found = find_folders(root)
    if found is None:
        return None
    images, maps = found['train']
    return f'{images.relative_to(root)} and {maps.relative_to(root)}'


def read(root: Path) -> AnnotatedData:
    """Read images with label maps.

    Raises:
        ValueError: If there is nothing to train on, if the label maps do not
            store classes, or if the file that names them cannot be used.
    """
    notes: list[str] = []
    faults = Faults()
    splits: dict[str, Split] = {}
    all_pairs: list[tuple[Path, Path]] = []
    folders = find_folders(root) or {}
    for split, (images, maps) in folders.items():
        if not has_maps(maps):
            notes.append(f'{split} has no label maps, and was left out.')
            continue
        pairs = pair_maps(images, maps, notes, faults)
        if pairs:
            folder = common_folder(image for image, _ in pairs)
            splits[split] = SegmentationSplit(folder, pairs)
            all_pairs += pairs
    notes += [
        f'{path.name} has no folder of images; it is not used.'
        for path in find_unused(root, folders)
    ]
    require_train(root, splits, faults)
    stored = read_values(all_pairs, faults)
    meaning = decide_meaning(stored, find_class_names(root), faults)
    return AnnotatedData(
        root=root,
        layout=LAYOUT.name,
        task=LAYOUT.task,
        classes=tuple(meaning.classes),
        splits=splits,
        palette=meaning.palette,
        encoding=meaning.encoding,
        notes=notes + meaning.notes,
        faults=faults,
    )


LAYOUT = Layout(
    name='label maps in folders',
    task='segmentation',
    wants='images/ and masks/ (or labels/, annotations/), with train/ and '
    'val/ in them, above them, or not at all; classes.txt with the names',
    find=find,
    read=read,
)


def find_folders(root: Path) -> dict[str, tuple[Path, Path]] | None:
    """The folders of images and of label maps of each split.

    Returns:
        A pair for train and, if they have one, for the other splits; None if
        there is no such pair for train, or if it has no label maps.
    """
    pairs = {}
    outer_images, outer_maps = find_pair(root)
    for split, names in SPLIT_NAMES.items():
        inner = find_child(root, names)
        images, maps = (None, None) if inner is None else find_pair(inner)
        if images is None and outer_images is not None:
            images = find_child(outer_images, names)
            inner = outer_maps
            if outer_maps is not None:
                maps = find_child(outer_maps, names)
        if images is not None and inner is not None:
            # A folder that is not there has no label maps.
            pairs[split] = (images, maps or inner / names[0])
    if not pairs and outer_images is not None and outer_maps is not None:
        pairs['train'] = (outer_images, outer_maps)
    if 'train' in pairs and has_maps(pairs['train'][1]):
        return pairs
    return None


def find_pair(folder: Path) -> tuple[Path | None, Path | None]:
    """The folder of images and the one of label maps in a folder."""
    images = find_child(folder, IMAGE_FOLDERS)
    return images, find_child(folder, MAP_FOLDERS)


def find_unused(root: Path, splits: Container[str]) -> list[Path]:
    """Folders called like a split that is none of those found."""
    folders = (
        find_child(root, names)
        for split, names in SPLIT_NAMES.items()
        if split not in splits
    )
    return [folder for folder in folders if folder is not None]


def has_maps(folder: Path) -> bool:
    """Whether a folder, or the first one in it, has label maps.

    One with files of COCO or VOC beside has pictures of another kind.
    """
    if first_file(folder, ('.xml', '.json')) is not None:
        return False
    return any(
        first_file(place, MAP_SUFFIXES) is not None
        for place in (folder, *list_folders(folder)[:1])
    )
