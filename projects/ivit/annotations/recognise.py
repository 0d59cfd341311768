# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Recognise in which layout a folder has its annotations, and read it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .layouts import LAYOUTS, Layout
from .layouts.coco import make_data, read_split
from .layouts.folders import list_folders
from .records import AnnotatedData

# So many names of a folder's content are shown in an error.
NAMES_SHOWN = 12


def read_folder(root: str | Path, task: str | None = None) -> AnnotatedData:
    """Read a folder of annotated images, whatever layout it has.

    Args:
        root: The folder. Nothing is written into it.
        task: Only layouts for this task are considered.

    Raises:
        ValueError: If there is no such folder, no layout fits or several do.
    """
    root = Path(root)
    if not root.is_dir():
        raise ValueError(f'There is no folder {root.absolute()}')
    with _unreadable_as_value_error():
        return _read(root, task)


def _read(root: Path, task: str | None) -> AnnotatedData:
    found = {layout: layout.find(root) for layout in LAYOUTS}
    fitting = [layout for layout in LAYOUTS if found[layout]]
    if task is not None:
        others = [layout for layout in fitting if layout.task != task]
        fitting = [layout for layout in fitting if layout.task == task]
        if others and not fitting:
            raise ValueError(
                f'{root} has {_describe(others, found)}, which is for '
                f'{others[0].task}, and the model is for {task}. Take a '
                f'config for {others[0].task}, or annotations of one of '
                f'these layouts:\n{_wants(task)}'
            )
    if not fitting:
        raise ValueError(
            f'{root} has none of the layouts below. It has '
            f'{_content(root)}.{_hint_at_folder(root)}\n{_wants(task)}'
        )
    if len(fitting) > 1:
        raise ValueError(
            f'{root} fits more than one layout: {_describe(fitting, found)}. '
            'Give the folder of one of them, or name the task or the '
            f'annotation files.\n{_wants(task)}'
        )
    return fitting[0].read(root)


def read_coco_files(
    train_ann: str | Path,
    train_images: str | Path,
    val_ann: str | Path | None = None,
    val_images: str | Path | None = None,
) -> AnnotatedData:
    """Read COCO annotation files that lie anywhere.

    Args:
        train_ann: The annotation file for training.
        train_images: The folder that its file names are relative to.
        val_ann: The annotation file for validation.
        val_images: The folder that its file names are relative to;
            ``train_images`` by default.

    Raises:
        ValueError: If a file or folder is not there, or is something else,
            or if there are images for validation without annotations.
    """
    if val_images is not None and val_ann is None:
        raise ValueError(
            f'--val-images {val_images} has no annotations: name their file '
            'with --val-ann, or leave both out, for a part of the training '
            'images to be set aside'
        )
    given = {'train': (train_ann, train_images)}
    if val_ann is not None:
        given['val'] = (val_ann, val_images or train_images)
    splits = {}
    for split, (ann, images) in given.items():
        for path, is_there, what in (
            (ann, Path(ann).is_file(), 'file'),
            (images, Path(images).is_dir(), 'folder'),
        ):
            if not is_there:
                raise ValueError(f'There is no {what} {Path(path).absolute()}')
        with _unreadable_as_value_error():
            splits[split] = read_split(Path(ann), Path(images))
    return make_data(Path(train_ann).parent, splits)


@contextmanager
def _unreadable_as_value_error() -> Iterator[None]:
    """Say which file the system does not let us read."""
    try:
        yield
    except OSError as error:
        raise ValueError(
            f'{error.filename} cannot be read: {error.strerror}. See that it '
            'is there and that you may read it'
        ) from error


def _hint_at_folder(root: Path) -> str:
    """Name the first sub folder that has a layout, if there is one."""
    for folder in list_folders(root):
        names = [layout.name for layout in LAYOUTS if layout.find(folder)]
        if names:
            return (
                f' Its folder {folder.name} has the layout '
                f'{" or ".join(names)}: name {folder}.'
            )
    return ''


def _describe(layouts: list[Layout], found: dict[Layout, str | None]) -> str:
    """The layouts, each with what told."""
    return '; '.join(f'{layout.name} ({found[layout]})' for layout in layouts)


def _wants(task: str | None) -> str:
    """A line for each layout, saying what it wants."""
    return '\n'.join(
        f'  {layout.name}, {layout.task}: {layout.wants}'
        for layout in LAYOUTS
        if task in (None, layout.task)
    )


def _content(folder: Path) -> str:
    """What lies in a folder, in one line."""
    names = sorted(
        path.name + '/' * path.is_dir()
        for path in folder.iterdir()
        if not path.name.startswith('.')
    )
    more = len(names) - NAMES_SHOWN
    shown = ', '.join(names[:NAMES_SHOWN]) or 'nothing'
    return f'{shown} and {more} more' if more > 0 else shown
