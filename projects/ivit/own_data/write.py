# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Data sets of mmdet, mmseg and mmpretrain for a user's annotations.

What has to be converted is written to a folder of the training; the user's
own folder is never written to.
"""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..annotations import (
    AnnotatedData,
    ClassificationSplit,
    DetectionSplit,
    LabelEncoding,
    SegmentationSplit,
)
from .coco_form import complete

# Modes of images whose numbers mmseg reads as they are.
PLAIN_MODES = ('L', 'P')


class WrittenSplit(NamedTuple):
    """A split as a framework reads it.

    Attributes:
        dataset: Config of the data set: its class, its paths and classes.
        num_images: Number of images.
        ann_file: The COCO file, where there is one.
    """

    dataset: dict[str, Any]
    num_images: int
    ann_file: str | None = None


def write_splits(
    data: AnnotatedData, folder: Path
) -> tuple[dict[str, WrittenSplit], list[str]]:
    """Write what the frameworks cannot read as it is.

    Several processes may write the same at a time.

    Args:
        data: The data, without errors.
        folder: Where to write.

    Returns:
        The splits, and what was written, in sentences.
    """
    written, notes = {}, []
    metainfo = dict(classes=data.classes, palette=data.palette)
    for name, split in data.splits.items():
        if isinstance(split, DetectionSplit):
            written[name], note = _write_objects(
                split, data.classes, folder / f'{name}.json'
            )
        elif isinstance(split, SegmentationSplit):
            encoding = data.encoding or LabelEncoding()
            written[name], note = _write_label_maps(
                split, encoding, folder, name
            )
        else:
            written[name], note = _write_samples(split, folder, name)
            metainfo.pop('palette', None)
        written[name].dataset['metainfo'] = dict(metainfo)
        notes += [note] if note else []
    return written, notes


def _write_objects(
    split: DetectionSplit, classes: Sequence[str], path: Path
) -> tuple[WrittenSplit, str]:
    """A COCO file with all that mmdet needs: the user's or one of ours."""
    coco, changes = complete(split.coco, classes)
    ann_file, note = split.ann_file, ''
    if changes or ann_file is None:
        ann_file = path
        _write_text(path, json.dumps(coco))
        if changes and split.ann_file:
            note = f'{path} is {split.ann_file} with {", ".join(changes)}.'
    place = str(ann_file.absolute())
    dataset = dict(
        type='CocoDataset',
        data_root='',
        ann_file=place,
        data_prefix=dict(img=f'{split.image_root.absolute()}/'),
    )
    return WrittenSplit(dataset, len(split), place), note


def _write_label_maps(
    split: SegmentationSplit, encoding: LabelEncoding, folder: Path, name: str
) -> tuple[WrittenSplit, str]:
    """A list of images, and for ``a.jpg`` a label map ``a.jpg.png``."""
    maps = folder / 'label_maps' / name
    converted = 0
    names = []
    for image, stored in split.pairs:
        inner = image.relative_to(split.image_root).as_posix()
        names.append(inner)
        path = maps / f'{inner}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        if encoding.is_identity and _is_plain(stored):
            _link(stored.absolute(), path)
        else:
            indices, _ = encoding.decode(stored)
            _write_image(path, indices)
            converted += 1
    list_file = folder / f'{name}.txt'
    _write_text(list_file, '\n'.join(names) + '\n')
    dataset = dict(
        type='BaseSegDataset',
        data_root='',
        ann_file=str(list_file.absolute()),
        data_prefix=dict(
            img_path=str(split.image_root.absolute()),
            seg_map_path=str(maps.absolute()),
        ),
        img_suffix='',
        seg_map_suffix='.png',
        reduce_zero_label=False,
    )
    note = f'{maps} has {converted} converted label maps.' if converted else ''
    return WrittenSplit(dataset, len(split)), note


def _write_samples(
    split: ClassificationSplit, folder: Path, name: str
) -> tuple[WrittenSplit, str]:
    """A list of images with the indices of their classes."""
    lines = [
        f'{image.relative_to(split.image_root).as_posix()} {label}'
        for image, label in split.samples
    ]
    path = folder / f'{name}.txt'
    _write_text(path, '\n'.join(lines) + '\n')
    dataset = dict(
        type='CustomDataset',
        data_root='',
        ann_file=str(path.absolute()),
        data_prefix=str(split.image_root.absolute()),
    )
    return WrittenSplit(dataset, len(split)), ''


def _is_plain(path: Path) -> bool:
    """Whether mmseg reads a label map's numbers as they are stored."""
    with Image.open(path) as image:
        return image.mode in PLAIN_MODES and image.format == 'PNG'


def _partial(path: Path) -> Path:
    """Where a process writes a file before it takes its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f'.{os.getpid()}.{path.name}')


def _write_text(path: Path, text: str) -> None:
    partial = _partial(path)
    partial.write_text(text, encoding='utf-8')
    partial.replace(path)


def _write_image(path: Path, indices: np.ndarray) -> None:
    partial = _partial(path)
    Image.fromarray(indices).save(partial, format='PNG')
    partial.replace(path)


def _link(target: Path, path: Path) -> None:
    """Link to a file, or copy it where links are not to be had."""
    partial = _partial(path)
    partial.unlink(missing_ok=True)
    try:
        partial.symlink_to(target)
    except OSError:
        shutil.copyfile(target, partial)
    partial.replace(path)
