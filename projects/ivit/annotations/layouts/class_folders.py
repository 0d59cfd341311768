# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""A folder of images for each class, in train, val and test or in one."""

from itertools import islice
from pathlib import Path

from ..faults import Faults
from ..files import IMAGE_SUFFIXES, list_images
from ..records import AnnotatedData, ClassificationSplit, Split
from . import fault_kinds, label_folders, voc
from .folders import (
    SPLIT_NAMES,
    count_other_images,
    find_child,
    first_file,
    iterate_files,
    list_folders,
    require_train,
)
from .layout import Layout

#: Folders with these names have images or annotations of other layouts.
#: `mask` may be a class, and lies beside `image` where it is none.
OTHER_LAYOUTS = {
    *label_folders.IMAGE_FOLDERS,
    *label_folders.MAP_FOLDERS,
    *voc.IMAGE_FOLDERS,
    *voc.MAP_FOLDERS,
    'imagesets',
    'segmentationobject',
} - {'mask'}
#: Of the files that programs for labelling write beside images.
LABEL_SUFFIXES = ('.txt', '.xml', '.json')
#: Folders of splits, which are no classes where they lie side by side.
SPLITS = {name for names in SPLIT_NAMES.values() for name in names}


def find(root: Path) -> str | None:
    """Look for class folders, in train or in the folder itself."""
    train = find_child(root, SPLIT_NAMES['train'])
    if train is not None and has_class_folders(train, OTHER_LAYOUTS):
        return f'{train.name}/<class>/'
    return (
        '<class>/' if has_class_folders(root, OTHER_LAYOUTS | SPLITS) else None
    )


def read(root: Path) -> AnnotatedData:
    """Read images with classes, the sorted names of train's folders.

    Raises:
        ValueError: If there is nothing to train on.
    """
    notes: list[str] = []
    faults = Faults()
    train = find_child(root, SPLIT_NAMES['train'])
    if train is None or not has_class_folders(train, OTHER_LAYOUTS):
        train = root
    classes = [folder.name for folder in list_folders(train)]
    splits: dict[str, Split] = {}
    for split, names in SPLIT_NAMES.items():
        place = train if split == 'train' else find_child(root, names)
        if place is None:
            continue
        if not list_folders(place):
            notes.append(f'{place.name} has no class folders; it is not used.')
            continue
        samples = read_split(place, classes, faults)
        if samples:
            splits[split] = ClassificationSplit(place, samples)
    require_train(root, splits, faults)
    return AnnotatedData(
        root=root,
        layout=LAYOUT.name,
        task=LAYOUT.task,
        classes=tuple(classes),
        splits=splits,
        notes=notes,
        faults=faults,
    )


LAYOUT = Layout(
    name='class folders',
    task='classification',
    wants='train/<class>/ and val/<class>/ with images, or <class>/ alone; '
    'at least two classes',
    find=find,
    read=read,
)


def has_class_folders(folder: Path, reserved: set[str]) -> bool:
    """Whether at least two sub folders have images, and none is reserved."""
    folders = list_folders(folder)
    if any(is_reserved(path.name, reserved) for path in folders):
        return False
    with_images = (
        image
        for path in folders
        if (image := first_file(path, IMAGE_SUFFIXES)) is not None
    )
    # Labels beside the images say that the folders are no classes.
    found = list(islice(with_images, 2))
    return len(found) == 2 and not any(
        image.with_suffix(suffix).is_file()
        for image in found
        for suffix in LABEL_SUFFIXES
    )


def is_reserved(name: str, reserved: set[str]) -> bool:
    """Whether a folder is no class; ``train2017`` is like ``train``."""
    name = name.lower()
    return name in reserved or name.rstrip('0123456789') in SPLITS & reserved


def read_split(
    place: Path, classes: list[str], faults: Faults
) -> list[tuple[Path, int]]:
    """The images of a split with the indices of their classes."""
    for path in sorted(iterate_files(place, IMAGE_SUFFIXES)):
        faults.add(fault_kinds.IMAGE_WITHOUT_CLASS, path)
    samples = []
    for folder in list_folders(place):
        images = list_images(folder)
        count_other_images(folder, faults)
        if not images:
            faults.add(fault_kinds.CLASS_EMPTY, folder)
        elif folder.name not in classes:
            faults.add(fault_kinds.CLASS_UNKNOWN, folder)
        else:
            index = classes.index(folder.name)
            samples += [(image, index) for image in images]
    return samples
