# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""List the files in a folder, at any depth."""

import os
from collections.abc import Collection
from pathlib import Path

#: Suffixes of the files that count as images, in lower case.
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
#: Folders that systems and programs make.
FOREIGN_FOLDERS = ('__MACOSX', '__pycache__')


def is_foreign(name: str) -> bool:
    """Whether a file or folder is hidden or not the user's own."""
    return name.startswith('.') or name in FOREIGN_FOLDERS


def walk_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """The files in a folder, at any depth, in the order of names.

    Links are followed, each folder is listed once. A link to nothing is
    among the files, for checks to tell that it is missing.

    Args:
        folder: Where to look. It need not exist.
        suffixes: Suffixes in lower case.

    Raises:
        OSError: If a folder in it cannot be listed.
    """
    if not folder.is_dir():
        return []
    found = []
    seen = set()
    for parent, folders, names in os.walk(
        folder, onerror=_raise, followlinks=True
    ):
        place = os.path.realpath(parent)
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not is_foreign(name))
        found += [
            Path(parent, name)
            for name in names
            if os.path.splitext(name)[1].lower() in suffixes
            and not is_foreign(name)
        ]
    return sorted(found)


def list_images(
    folder: Path, suffixes: Collection[str] = IMAGE_SUFFIXES
) -> list[Path]:
    """All image files in a folder, at any depth, in the order of names."""
    return walk_files(folder, suffixes)


def _raise(error: OSError) -> None:
    raise error
