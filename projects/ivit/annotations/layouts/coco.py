# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""COCO json, in the places where people keep it."""

import gc
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..records import AnnotatedData, DetectionSplit
from .folders import SPLIT_NAMES, list_folders
from .layout import Layout

NAME = 'COCO'
WANTS = (
    'annotations/instances_train*.json with the images anywhere below, or '
    'annotations/*.json (one, or one a split) with images/, or '
    '{train,valid,test}/_annotations.coco.json beside the images'
)
ROBOFLOW_FILE = '_annotations.coco.json'
KEYS = ('images', 'annotations', 'categories')
# So many file names are looked up to find the folder that images are in.
NAMES_TRIED = 50


def find_annotation_files(root: Path) -> dict[str, Path]:
    """The annotation file of each split.

    Raises:
        ValueError: If two files are for the same split.
    """
    found: dict[str, list[Path]] = {}
    for folder in list_folders(root):
        path = folder / ROBOFLOW_FILE
        split = name_split(folder.name)
        if path.is_file() and split:
            found.setdefault(split, []).append(path)
    if not found:
        files = _candidate_files(root)
        for path in files:
            split = name_split(path.stem)
            if split is None and len(files) == 1:
                split = 'train'
            if split:
                found.setdefault(split, []).append(path)
    for split, paths in found.items():
        if len(paths) > 1:
            raise ValueError(
                f'{root} has several COCO files for {split}: '
                f'{", ".join(str(p.relative_to(root)) for p in paths)}. Name '
                'the ones to use with --train-ann, --train-images, --val-ann '
                'and --val-images'
            )
    return {split: paths[0] for split, paths in found.items()}


def name_split(name: str) -> str | None:
    """The split that the name of a file or folder tells of."""
    for split in SPLIT_NAMES:
        if split in name.lower():
            return split
    return None


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
            content = json.loads(path.read_bytes())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f'{path} is no JSON: {error}') from error
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
    return content


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
        used = {a.get('category_id') for a in split.coco['annotations']}
        by_id = sorted(split.coco['categories'], key=lambda c: c.get('id', 0))
        for category in by_id:
            name = str(category.get('name'))
            used_before = names.get(name, False)
            names[name] = used_before or category.get('id') in used
    unused = [name for name, is_used in names.items() if not is_used]
    if unused and len(unused) < len(names):
        notes.append(
            f'Categories without objects are left out: {", ".join(unused)}.'
        )
    else:
        unused = []
    return tuple(name for name in names if name not in unused)


def _find(root: Path) -> str | None:
    paths = [
        folder / ROBOFLOW_FILE
        for folder in list_folders(root)
        if (folder / ROBOFLOW_FILE).is_file()
    ] or [path for path in _candidate_files(root) if _looks_like_coco(path)]
    names = [str(path.relative_to(root)) for path in paths]
    return ', '.join(names) or None


def _read(root: Path) -> AnnotatedData:
    files = find_annotation_files(root)
    if 'train' not in files:
        raise ValueError(
            f'{root} has no COCO file for training: '
            f'{", ".join(str(p.relative_to(root)) for p in files.values())} '
            'is for validation or test. Name it with --train-ann and '
            '--train-images'
        )
    splits = {}
    for split, path in files.items():
        content = load_coco_json(path)
        image_root = find_image_root(root, path, content, split)
        splits[split] = DetectionSplit(image_root, content, path)
    return make_data(root, splits)


def make_data(root: Path, splits: dict[str, DetectionSplit]) -> AnnotatedData:
    """Put splits of COCO json together.

    Args:
        root: The folder they lie in.
        splits: ``'train'`` and maybe ``'val'`` and ``'test'``.
    """
    # Training decides the order of classes, whatever its file is called.
    splits = {name: splits[name] for name in SPLIT_NAMES if name in splits}
    notes: list[str] = []
    if 'test' in splits and not splits['test'].coco['annotations']:
        del splits['test']
        notes.append('The test split has no annotations and is not used.')
    classes = order_classes(splits.values(), notes)
    return AnnotatedData(
        root, NAME, 'detection', classes, dict(splits), notes=notes
    )


def find_image_root(
    root: Path, ann_file: Path, coco: dict[str, Any], split: str
) -> Path:
    """The folder that an annotation file's names are relative to.

    Of the folders in ``root``, down to two levels, it is the one that has
    most of the images; among equals one whose name has the split in it.

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
        raise ValueError(
            f'{ann_file} names images such as {names[0]!r}, which are in no '
            f'folder of {root}. Name the folder with --{split}-ann and '
            f'--{split}-images'
        )
    return best


def _candidate_files(root: Path) -> list[Path]:
    """Json files at the places where COCO's lie; instances, if any say so."""
    files = sorted((root / 'annotations').glob('*.json'))
    files = files or sorted(root.glob('*.json'))
    return [path for path in files if 'instances' in path.stem] or files


def _looks_like_coco(path: Path) -> bool:
    """Whether one of COCO's keys is near one end of the file."""
    size = path.stat().st_size
    with path.open('rb') as file:
        ends = file.read(1 << 16)
        file.seek(max(0, size - (1 << 16)))
        ends += file.read()
    return any(f'"{key}"'.encode() in ends for key in KEYS)


LAYOUT = Layout(NAME, 'detection', WANTS, _find, _read)
