# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""COCO json, in the places where people keep it."""

import gc
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import Any

import orjson

from ..coco_values import is_id
from ..files import IMAGE_SUFFIXES, is_foreign, list_images
from ..records import AnnotatedData, DetectionSplit
from .folders import SPLIT_NAMES, find_child, iterate_files, list_folders
from .layout import Layout

NAME = 'COCO'
WANTS = (
    'annotations/instances_train*.json with the images anywhere below, or '
    'annotations/*.json (one, or one a split) with images/, or one .json in '
    'each of {train,valid,test}/ beside the images'
)
ROBOFLOW_FILE = '_annotations.coco.json'
KEYS = ('images', 'annotations', 'categories')
LFS_HEAD = b'version https://git-lfs'
# So many file names are looked up to find the folder that images are in.
NAMES_TRIED = 50


def list_annotation_files(root: Path) -> list[tuple[str | None, Path]]:
    """The annotation files in a folder, each with its split.

    Of the files in one folder, those called so by Roboflow or COCO come
    alone, if there are any.
    """
    found: list[tuple[str | None, Path]] = [
        (split, path)
        for folder in list_folders(root)
        if (split := name_split(folder.name))
        for path in _coco_files(folder)
    ]
    if found:
        return found
    annotations = find_child(root, ('annotations',))
    files = [] if annotations is None else _coco_files(annotations)
    files = files or _coco_files(root)
    if len(files) == 1:
        return [(name_split(files[0].stem) or 'train', files[0])]
    return [(name_split(path.stem), path) for path in files]


def find_annotation_files(root: Path, notes: list[str]) -> dict[str, Path]:
    """The annotation file of each split.

    Args:
        root: The data's folder.
        notes: Gets a sentence on files that are of no split.

    Raises:
        ValueError: If two files are for the same split, or none is for
            training.
    """
    found: dict[str | None, list[Path]] = {}
    for split, path in list_annotation_files(root):
        found.setdefault(split, []).append(path)
    unnamed = found.pop(None, [])
    for split, paths in found.items():
        if len(paths) > 1:
            raise ValueError(
                f'{root} has several COCO files for {split}: '
                f'{_list_within(root, paths)}. Name the ones to use with '
                '--train-ann, --train-images, --val-ann and --val-images'
            )
    files = {split: paths[0] for split, paths in found.items() if split}
    if 'train' not in files:
        paths = [*files.values(), *unnamed]
        raise ValueError(
            f'{root} has no COCO file whose name says that it is for '
            f'training; it has {_list_within(root, paths)}. Name the one to '
            'use with --train-ann and --train-images'
        )
    if unnamed:
        notes.append(
            f'{_list_within(root, unnamed)}: not used, as the names tell of '
            'no split.'
        )
    return files


def name_split(name: str) -> str | None:
    """The split that a word in the name of a file or folder tells of."""
    words = re.findall('[A-Z]*[a-z]+|[A-Z]+', name)
    for split, names in SPLIT_NAMES.items():
        if any(word.lower() in names for word in words):
            return split
    return 'train' if 'trainval' in name.lower() else None


def read_split(ann_file: Path, image_root: Path) -> DetectionSplit:
    """Read an annotation file.

    Args:
        ann_file: The COCO json.
        image_root: The folder that its file names are relative to.

    Raises:
        ValueError: If it is no COCO json of objects.
    """
    return DetectionSplit(image_root, load_coco_json(ann_file), ann_file)


def load_coco_json(path: Path) -> dict[str, Any]:
    """The content of a COCO json with images, annotations and categories.

    Raises:
        ValueError: If it is no such file.
    """
    try:
        with no_garbage_collection():
            content = _parse(path.read_bytes())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        hint = ''
        if path.read_bytes().startswith(LFS_HEAD):
            hint = '. It stands for a file of Git LFS: run `git lfs pull`'
        raise ValueError(f'{path} is no JSON: {error}{hint}') from error
    if not isinstance(content, dict):
        raise ValueError(
            f'{path} has a {type(content).__name__} at its top; a COCO '
            f'annotation file has a dict of {", ".join(KEYS)}'
        )
    for key in KEYS:
        if not isinstance(content.get(key), list):
            raise ValueError(
                f'{path} has no list {key!r}; it has '
                f'{", ".join(map(repr, content)) or "nothing"}. A COCO '
                f'annotation file of objects has {", ".join(KEYS)}'
            )
        others = set(map(type, content[key])) - {dict}
        if others:
            raise ValueError(
                f'{path}: {key!r} has a {others.pop().__name__} among its '
                'entries, which have to be dicts'
            )
    return content


def _parse(text: bytes) -> Any:
    """Parse JSON, a large file in a third of the standard library's time.

    What orjson does not take, such as NaN, the standard library reads, or
    says what is wrong with.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep the collector from looking at millions of new objects again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def order_classes(
    splits: Iterable[DetectionSplit], notes: list[str]
) -> tuple[str, ...]:
    """Names of the categories that have objects, by their ids.

    Args:
        splits: The first one decides the order.
        notes: Gets a sentence on the categories left out.
    """
    names: dict[str, bool] = {}
    for split in splits:
        ids = [a.get('category_id') for a in split.coco['annotations']]
        used = {i for i in ids if is_id(i)}
        # Categories with faults, which the check tells of, come last.
        for category in sorted(split.coco['categories'], key=_rank):
            name = str(category.get('name'))
            identity = category.get('id')
            is_used = is_id(identity) and identity in used
            names[name] = names.get(name, False) or is_used
    unused = [name for name, is_used in names.items() if not is_used]
    if unused and len(unused) < len(names):
        notes.append(
            f'Categories without objects are left out: {", ".join(unused)}.'
        )
    else:
        unused = []
    return tuple(name for name in names if name not in unused)


def _rank(category: dict[str, Any]) -> tuple[int, int, str]:
    """A key to sort categories by: numbers, then texts, then neither."""
    identity = category.get('id')
    if type(identity) is int:
        return 0, identity, ''
    return (1, 0, identity) if isinstance(identity, str) else (2, 0, '')


def _find(root: Path) -> str | None:
    paths = [path for _, path in list_annotation_files(root)]
    return _list_within(root, paths) or None


def _list_within(root: Path, paths: Iterable[Path]) -> str:
    return ', '.join(path.relative_to(root).as_posix() for path in paths)


def _read(root: Path) -> AnnotatedData:
    notes: list[str] = []
    splits = {}
    for split, path in find_annotation_files(root, notes).items():
        content = load_coco_json(path)
        image_root = find_image_root(root, path, content, split)
        splits[split] = DetectionSplit(image_root, content, path)
    note_unlisted(splits.values(), notes)
    return make_data(root, splits, notes)


def note_unlisted(splits: Iterable[DetectionSplit], notes: list[str]) -> None:
    """Say which images in the folders of images no annotation file names.

    Args:
        splits: All that were read.
        notes: Gets a sentence.
    """
    named = {
        os.path.normpath(os.path.join(split.image_root, image['file_name']))
        for split in splits
        for image in split.coco['images']
        if isinstance(image.get('file_name'), str)
    }
    folders = sorted(set(map(os.path.dirname, named)))
    unlisted = sorted(
        path
        for folder in folders
        for path in map(str, iterate_files(Path(folder), IMAGE_SUFFIXES))
        if path not in named
    )
    if unlisted:
        notes.append(
            f'{len(unlisted)} images are in no annotation file, and are not '
            f'used, as {unlisted[0]}.'
        )


def make_data(
    root: Path,
    splits: dict[str, DetectionSplit],
    notes: Iterable[str] = (),
) -> AnnotatedData:
    """Put splits of COCO json together.

    Args:
        root: The folder they lie in.
        splits: ``'train'`` and maybe ``'val'`` and ``'test'``.
        notes: What was decided so far.
    """
    # Training decides the order of classes, whatever its file is called.
    splits = {name: splits[name] for name in SPLIT_NAMES if name in splits}
    notes = list(notes)
    for name in ('val', 'test'):
        if name in splits and not splits[name].coco['annotations']:
            del splits[name]
            notes.append(
                f'The {name} split has no annotations and is not used.'
            )
    classes = order_classes(splits.values(), notes)
    return AnnotatedData(
        root, NAME, 'detection', classes, dict(splits), notes=notes
    )


def find_image_root(
    root: Path, ann_file: Path, coco: dict[str, Any], split: str
) -> Path:
    """The folder that an annotation file's names are relative to.

    Of the folders in ``root`` it is the one that has most of the images;
    among equals one whose name has the split in it. Folders more than two
    levels down are tried if no other has any.

    Raises:
        ValueError: If no folder has any.
    """
    images = coco['images']
    step = max(1, len(images) // NAMES_TRIED)
    names = [str(image.get('file_name')) for image in images[::step]]

    def rank(folder: Path) -> tuple[int, bool, bool, int]:
        inner = folder.relative_to(root)
        return (
            sum((folder / name).is_file() for name in names),
            any(name_split(part) == split for part in inner.parts),
            folder == ann_file.parent,
            -len(inner.parts),
        )

    folders = [root, *list_folders(root)]
    folders += [inner for f in folders[1:] for inner in list_folders(f)]
    best = max(sorted(folders), key=rank)
    if names and rank(best)[0] == 0:
        best = max(sorted(_all_folders(root)), key=rank)
    if names and rank(best)[0] == 0:
        raise ValueError(
            f'{ann_file} names images such as {names[0]!r}, which are in no '
            f'folder of {root}{_hint_at_image(root, names[0])}. Name the '
            f'folder with --{split}-ann and --{split}-images'
        )
    return best


def _all_folders(root: Path) -> list[Path]:
    return [
        Path(parent)
        for parent, _, _ in os.walk(root)
        if not any(map(is_foreign, Path(parent).relative_to(root).parts))
    ]


def _hint_at_image(root: Path, name: str) -> str:
    """Name a file of nearly the name, if there is one."""
    wanted = PureWindowsPath(name).name.casefold()
    for path in list_images(root):
        if path.name.casefold() == wanted:
            return (
                f'. There is {path}: write file_name as a path from one '
                'folder, with / and in the letters of the file'
            )
    return ''


def _coco_files(folder: Path) -> list[Path]:
    """COCO's files in a folder: Roboflow's, instances, or all there are."""
    files = [
        path
        for path in sorted(iterate_files(folder, ('.json',)))
        if _is_called_coco(path) or _looks_like_coco(path)
    ]
    return [path for path in files if _is_called_coco(path)] or files


def _is_called_coco(path: Path) -> bool:
    """Whether a name is COCO's; what is wrong inside, reading it tells."""
    return path.name == ROBOFLOW_FILE or 'instances' in path.stem.lower()


def _looks_like_coco(path: Path) -> bool:
    """Whether one of COCO's keys is near one end of the file."""
    size = path.stat().st_size
    with path.open('rb') as file:
        ends = file.read(1 << 16)
        file.seek(max(0, size - (1 << 16)))
        ends += file.read()
    return any(f'"{key}"'.encode() in ends for key in KEYS)


LAYOUT = Layout(NAME, 'detection', WANTS, _find, _read)
