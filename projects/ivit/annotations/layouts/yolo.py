# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""YOLO: a YAML file with names and folders, and a text file an image.

``data.yaml`` has ``names`` and, for each split, a folder of images, a list of
images (.txt), or several of these. The labels of ``images/a.jpg`` lie in
``labels/a.txt``, a line an object: its class and a box or a polygon.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from .. import file_faults
from ..faults import Faults
from ..files import list_images
from ..image_files import read_head
from ..records import AnnotatedData, Split
from . import fault_kinds
from .coco_builder import CocoBuilder
from .folders import (
    count_other_images,
    iterate_files,
    read_lines,
    read_text,
    require_train,
)
from .layout import Layout
from .yolo_labels import LabelReader, label_path

#: The keys of a split, the first one that is there is taken.
SPLIT_KEYS = {
    'train': ('train',),
    'val': ('val', 'valid', 'validation'),
    'test': ('test',),
}


def find(root: Path) -> str | None:
    """Look for a YAML file with ``names`` and a split."""
    files = [path for path in yaml_files(root) if describes_data(path)]
    return files[0].name if files else None


def read(root: Path) -> AnnotatedData:
    """Read the splits that the YAML file names.

    Raises:
        ValueError: If the YAML file cannot be used, if there are several, or
            if it leads to no image to train on.
    """
    files = [path for path in yaml_files(root) if describes_data(path)]
    if not files:
        raise ValueError(f'{root} has no {LAYOUT.wants}')
    if len(files) > 1 and files[0].stem != 'data':
        raise ValueError(
            f'{root} has several YAML files with `names`: '
            f'{", ".join(path.name for path in files)}. Name the one to use '
            'data.yaml'
        )
    return YoloReader(files[0]).read()


LAYOUT = Layout(
    name='YOLO',
    task='detection',
    wants='data.yaml with `names`, `train` and `val`; images/ and labels/ '
    'with a .txt for each image',
    find=find,
    read=read,
)


def yaml_files(root: Path) -> list[Path]:
    """The YAML files in a folder, those called data first."""
    files = iterate_files(root, ('.yaml', '.yml'))
    return sorted(files, key=lambda path: (path.stem != 'data', path.name))


def describes_data(path: Path) -> bool:
    """Whether a YAML file has the keys of a data set.

    A file called data that is no YAML counts if it looks so, for reading it
    to say what is wrong.
    """
    try:
        content = load_yaml(path)
    except ValueError:
        return path.stem == 'data' and b'names:' in path.read_bytes()
    has_split = any(
        content.get(key) for keys in SPLIT_KEYS.values() for key in keys
    )
    return has_split and any(content.get(key) for key in ('names', 'nc'))


def load_yaml(path: Path) -> dict[str, Any]:
    """The content of a YAML file, if it is a mapping, with all as strings.

    YAML takes class names such as ``no`` or ``12`` for other things.

    Raises:
        ValueError: If it is not UTF-8 or no YAML.
    """
    try:
        content = yaml.load(read_text(path), yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise ValueError(f'{path} is no YAML: {error}') from None
    return content if isinstance(content, dict) else {}


def read_names(content: dict[str, Any], path: Path) -> dict[int, str]:
    """Names by the indices that label files use, in the order of indices.

    Raises:
        ValueError: If ``names`` is neither a list nor a mapping from
            integers, or if a name is there twice.
    """
    names = content.get('names') or ''
    try:
        items = names.items() if isinstance(names, dict) else enumerate(names)
        by_index = {int(key): value for key, value in items}
    except ValueError:
        by_index = {}
    listed = list(by_index.values())
    if isinstance(names, str) or not all(map(is_name, listed)):
        listed = []
    if not listed:
        raise ValueError(
            f'{path}: `names` is {names!r}; it has to be a list of names, or '
            'a name for each index'
        )
    count = content.get('nc', len(listed))
    if str(count) != str(len(listed)):
        raise ValueError(
            f'{path}: `nc` is {count}, and `names` has {len(listed)} names; '
            'make them agree'
        )
    twice = sorted({name for name in listed if listed.count(name) > 1})
    if twice:
        raise ValueError(
            f'{path}: `names` has {twice[0]!r} twice; give each class a name '
            'of its own'
        )
    return dict(sorted(by_index.items()))


def is_name(value: object) -> bool:
    """Whether a value can name a class."""
    return isinstance(value, str) and bool(value.strip())


class YoloReader:
    """Reads what a YAML file names.

    Args:
        file: The YAML file.

    Raises:
        ValueError: If it cannot be used.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.root = Path(os.path.abspath(file.parent))
        self.content = load_yaml(file)
        self.notes: list[str] = []
        self.faults = Faults()
        self.names = read_names(self.content, file)
        self.labels = LabelReader(
            {index: number for number, index in enumerate(self.names)},
            has_keypoints='kpt_shape' in self.content,
            faults=self.faults,
        )
        self.bases = self._find_bases()

    def read(self) -> AnnotatedData:
        """Read all splits."""
        splits: dict[str, Split] = {}
        for split, keys in SPLIT_KEYS.items():
            key = next((k for k in keys if self.content.get(k)), None)
            if key is None:
                continue
            builder = self._read_split(split, self._read_entries(key))
            if builder.paths:
                splits[split] = builder.build()
        require_train(self.root, splits, self.faults)
        if self.labels.has_keypoints:
            self.notes.append('Keypoints are not used; boxes are.')
        if self.labels.polygons and self.labels.boxes:
            self.notes.append(
                f'{self.labels.polygons} objects have a polygon, and '
                f'{self.labels.boxes} a box alone, so no mask.'
            )
        return AnnotatedData(
            root=self.file.parent,
            layout=LAYOUT.name,
            task=LAYOUT.task,
            classes=tuple(self.names.values()),
            splits=splits,
            notes=self.notes,
            faults=self.faults,
        )

    def _find_bases(self) -> list[Path]:
        """The folders that paths may be relative to."""
        named = self.content.get('path')
        if not named:
            return [self.root]
        base = self.root / str(named)
        if base.is_dir():
            return [base, self.root]
        self.notes.append(
            f'{self.file.name}: `path` {named} is not there; the folder of '
            'the file is taken instead.'
        )
        return [self.root]

    def _read_entries(self, key: str) -> list[str]:
        """The folders and lists that the YAML file names for a split."""
        value = self.content[key]
        entries = value if isinstance(value, list) else [value]
        if not all(isinstance(entry, str) for entry in entries):
            raise ValueError(
                f'{self.file}: `{key}` is {value!r}; it has to be a folder of '
                'images, a .txt that lists them, or a list of these'
            )
        return entries

    def _resolve(self, entry: str, bases: Iterable[Path]) -> Path | None:
        """The file or folder that an entry means, if it is there."""
        # Windows writes paths with backslashes.
        for spelling in dict.fromkeys([entry, entry.replace('\\', '/')]):
            for base in bases:
                if (base / spelling).exists():
                    return Path(os.path.normpath(base / spelling))
        return None

    def _resolve_folder(self, entry: str) -> Path | None:
        """The same for an entry of the YAML file."""
        found = self._resolve(entry, self.bases)
        if found is None and entry.startswith('../'):
            # Roboflow writes paths as if the file lay a folder deeper.
            found = self._resolve(entry[3:], self.bases)
            if found is not None:
                self.notes.append(
                    f'{self.file.name} has {entry}; {entry[3:]} beside it is '
                    'taken.'
                )
        return found

    def _read_split(self, split: str, entries: list[str]) -> CocoBuilder:
        """Read the images of a split with their labels."""
        builder = CocoBuilder(list(self.names.values()), self.faults)
        unlabelled = 0
        for image in self._list_images(split, entries):
            if not image.is_file():
                self.faults.add(file_faults.IMAGE_MISSING, image, image)
                continue
            try:
                head = read_head(image, look_at_end=False)
            except OSError as error:
                self.faults.add(file_faults.IMAGE_UNREADABLE, error, image)
                continue
            # Most programs show images turned, but labels do not tell.
            if head.orientation != 1:
                self.faults.add(file_faults.EXIF_UNCLEAR, image, image)
            builder.add_image(image, head.turned_size)
            label = label_path(image, self.root)
            if label.is_file():
                self.labels.add_objects(label, builder)
            else:
                unlabelled += 1
        if unlabelled == len(builder.paths) > 0:
            label = label_path(builder.paths[0], self.root)
            self.faults.add(
                fault_kinds.NO_LABEL_FILES, f'{split}, as in {label}'
            )
        elif unlabelled:
            self.notes.append(
                f'{unlabelled} of {len(builder.paths)} images of {split} '
                'have no label file, so no objects.'
            )
        return builder

    def _list_images(self, split: str, entries: list[str]) -> list[Path]:
        """The images of a split; some may be missing."""
        images: dict[Path, None] = {}  # an ordered set
        for entry in entries:
            path = self._resolve_folder(entry)
            if path is None:
                # Roboflow names a folder for tests whether it is there or not.
                is_test = split == 'test'
                self.faults.add(
                    fault_kinds.TEST_MISSING
                    if is_test
                    else fault_kinds.FOLDER_MISSING,
                    f'{self.bases[0] / entry}, named in {self.file.name}',
                )
            elif path.is_dir():
                found = list_images(path)
                count_other_images(path, self.faults)
                images |= dict.fromkeys(found)
                self._check_label_files(found)
                if not found:
                    self.faults.add(fault_kinds.NO_IMAGES, path)
            else:
                for line in read_lines(path):
                    image = self._resolve(line, [*self.bases, path.parent])
                    images[image or self.bases[0] / line] = None
        return list(images)

    def _check_label_files(self, images: list[Path]) -> None:
        """Look for labels of images that are not in a folder of images."""
        labels = {label_path(image, self.root) for image in images}
        image_folders = {image.parent for image in images}
        # Among the images lie other texts too.
        for folder in sorted({la.parent for la in labels} - image_folders):
            for path in sorted(iterate_files(folder, ('.txt',))):
                if path not in labels and path.name != 'classes.txt':
                    self.faults.add(fault_kinds.LABEL_WITHOUT_IMAGE, path)
