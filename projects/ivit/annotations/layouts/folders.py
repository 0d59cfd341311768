# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What adapters ask of folders and files, without walking over all."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from PIL import Image

from ..faults import Faults
from ..files import is_foreign, list_images, walk_files
from . import fault_kinds

#: How people name the folder or list of a split, the usual name first.
SPLIT_NAMES = {
    'train': ('train', 'training'),
    'val': ('val', 'valid', 'validation'),
    'test': ('test', 'testing'),
}


#: Suffixes of images that Pillow or OpenCV do not read as they are.
OTHER_IMAGES = ('.heic', '.heif', '.avif', '.gif', '.jfif', '.jp2', '.dng')


def find_child(folder: Path, names: Collection[str]) -> Path | None:
    """The sub folder with the first of some names, in whatever case.

    Args:
        folder: Where to look. It need not exist.
        names: Names in lower case, the preferred one first.
    """
    found = {path.name.lower(): path for path in list_folders(folder)}
    return next((found[name] for name in names if name in found), None)


def list_folders(folder: Path) -> list[Path]:
    """Sub folders in the order of names, without those of programs.

    Args:
        folder: Where to look. It need not exist.
    """
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(
            folder / entry.name
            for entry in entries
            if not is_foreign(entry.name) and entry.is_dir()
        )


def first_file(folder: Path, suffixes: Collection[str]) -> Path | None:
    """Some file in a folder itself with one of some suffixes.

    Args:
        folder: Where to look. It need not exist.
        suffixes: Suffixes in lower case.
    """
    return next(iterate_files(folder, suffixes), None)


def iterate_files(folder: Path, suffixes: Collection[str]) -> Iterator[Path]:
    """Files in a folder itself with one of some suffixes, unsorted."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_foreign(entry.name) or not entry.is_file():
                continue
            if os.path.splitext(entry.name)[1].lower() in suffixes:
                yield folder / entry.name


def images_by_stem(folder: Path) -> dict[str, Path]:
    """The images in a folder, at any depth, by their path without suffix.

    Returns:
        Paths by keys such as ``'street/01'``, with ``/`` on any system.
    """
    found: dict[str, Path] = {}
    for path in list_images(folder):
        found.setdefault(stem_within(path, folder), path)
    return found


def count_other_images(folder: Path, faults: Faults) -> None:
    """Count images of formats that are not read among the faults."""
    for path in walk_files(folder, OTHER_IMAGES):
        faults.add(fault_kinds.IMAGE_FORMAT, path, path)


def stem_within(path: Path, folder: Path) -> str:
    """A path within a folder without its suffix, with ``/``."""
    return path.relative_to(folder).with_suffix('').as_posix()


def require_train(
    root: Path, splits: Mapping[str, object], faults: Faults
) -> None:
    """Refuse data in which nothing can be trained on.

    Args:
        root: Its folder.
        splits: The splits that were read.
        faults: What was wrong with the others.

    Raises:
        ValueError: If train is not among them.
    """
    if 'train' not in splits:
        found = ' '.join(str(fault) for fault in faults)
        raise ValueError(
            f'{root} has no annotated images to train on. '
            + (found or 'Name the folder or list of them train.')
        )


def common_folder(paths: Iterable[Path]) -> Path:
    """The deepest folder that all files are in."""
    return Path(os.path.commonpath([str(path.parent) for path in paths]))


def read_image_size(path: Path) -> tuple[int, int]:
    """Width and height as they are stored, in pixels, from the header.

    Raises:
        OSError: If the file is missing or no image.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except (ValueError, SyntaxError, Image.DecompressionBombError) as error:
        # Pillow's readers of single formats raise these on broken headers.
        raise OSError(f'{path}: {error}') from error


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text, stripped, without empty ones.

    Raises:
        ValueError: If the file is not UTF-8.
    """
    lines = read_text(path).splitlines()
    return [line.strip() for line in lines if line.strip()]


def read_text(path: Path) -> str:
    """A UTF-8 text, with or without a byte order mark.

    Raises:
        ValueError: If the file is not UTF-8.
    """
    try:
        return path.read_text('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{path} is not UTF-8 (byte {error.start}): save it as UTF-8'
        ) from None
