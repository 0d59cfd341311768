# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The files of a data set of scenes, made on first use.

::

    data/NAME/
      annotations/instances_{train,val}.json   COCO instances, masks as RLE
      images/{train,val}/000001.jpg
      labels/{train,val}/000001.png            0 background, 1.. the classes
      classes/{train,val}/{class}/000001_0.jpg one object, centred
      NAME.json                                settings, file counts, versions
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from rich.progress import Progress
from torch import Generator
from torch.utils.data import DataLoader, Dataset

from .made_once import count_workers, make_once
from .scenes import SPLITS, Scene

_CROP_CONTEXT = 1.3  # side of a crop over the object's longer side
_JPEG_QUALITY = 92
#: The least values of the settings that all data sets of scenes have.
LOWEST = {'num_train': 1, 'num_val': 1, 'image_size': 32, 'seed': 0}


@dataclass(frozen=True)
class SceneSource:
    """What a data set of scenes is made of.

    Attributes:
        name: Name of the data set, and of the file with its settings.
        format: Increased with every change after which the same settings
            give other files.
        classes: Names of the classes.
        draw: Draws the scene of a split and a number from 1.
        with_crops: Whether there are class folders with one object a file.
        packages: Packages on whose versions the files depend.
    """

    name: str
    format: int
    classes: Sequence[str]
    draw: Callable[[str, int], Scene]
    with_crops: bool
    packages: tuple[str, ...] = ('numpy', 'Pillow')


def ensure_scenes(
    root: str | Path, settings: dict[str, int], source: SceneSource
) -> Path:
    """Make a data set in ``root`` unless it is there already.

    Several processes may call this at once; see :func:`.made_once.make_once`.

    Args:
        root: Folder of the data set. An existing one is never changed.
        settings: What the files depend on, ``num_train`` and ``num_val``
            among it.
        source: What is drawn with these settings.

    Returns:
        ``root`` as a path.

    Raises:
        ValueError: If ``root`` exists and is not this data set, has other
            settings or lacks files.
    """
    root = Path(root)
    make_once(
        root,
        lambda build: _write_files(build, settings, source),
        f'the {source.name} data set',
    )
    _check_root(root, settings, source)
    return root


def check_settings(
    settings: dict[str, int], lowest: dict[str, int], name: str
) -> None:
    """Check that settings are integers and not too small.

    Args:
        settings: The settings by their names.
        lowest: The least value of each.
        name: Name of the data set, for the message.

    Raises:
        ValueError: If one is not.
    """
    for key, value in settings.items():
        if not isinstance(value, int) or value < lowest[key]:
            raise ValueError(
                f'{key}={value!r} of the {name} data set must be an integer '
                f'>= {lowest[key]}'
            )


class _SceneWriter(Dataset):
    """Draws and writes the scene that is asked for, and returns its answers.

    A data loader asks in several processes and keeps the order.

    Args:
        root: Folder of the data set.
        split: ``'train'`` or ``'val'``.
        length: Number of scenes.
        source: Draws them.
    """

    def __init__(
        self, root: Path, split: str, length: int, source: SceneSource
    ) -> None:
        self.root = root
        self.split = split
        self.length = length
        self.source = source

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, position: int) -> tuple[dict, list[dict]]:
        index = position + 1
        scene = self.source.draw(self.split, index)
        _write_scene(self.root, self.split, index, scene)
        if self.source.with_crops:
            folder = self.root / 'classes' / self.split
            _write_crops(folder, self.source.classes, index, scene)
        return _describe(index, scene)


def _write_files(
    root: Path, settings: dict[str, int], source: SceneSource
) -> None:
    scenes = {
        split: _SceneWriter(root, split, settings[f'num_{split}'], source)
        for split in SPLITS
    }
    (root / 'annotations').mkdir(parents=True)
    # rich draws a moving bar on a terminal, and one line in a log file.
    with Progress() as progress:
        total = sum(map(len, scenes.values()))
        bar = progress.add_task('Drawing scenes', total=total)
        for split in SPLITS:
            for folder in ('images', 'labels'):
                (root / folder / split).mkdir(parents=True)
            if source.with_crops:
                for name in source.classes:  # mmpretrain needs empty ones too
                    (root / 'classes' / split / name).mkdir(parents=True)
            coco: dict[str, list] = {
                'images': [],
                'annotations': [],
                'categories': [
                    {'id': i, 'name': name}
                    for i, name in enumerate(source.classes, 1)
                ],
            }
            for image, objects in DataLoader(
                scenes[split],
                batch_size=None,
                num_workers=count_workers(len(scenes[split])),
                # The training's own random numbers stay what they are.
                generator=Generator(),
            ):
                coco['images'].append(image)
                # COCOeval misreads id 0.
                first = len(coco['annotations']) + 1
                coco['annotations'] += [
                    {'id': i, **item} for i, item in enumerate(objects, first)
                ]
                progress.advance(bar)
            path = root / 'annotations' / f'instances_{split}.json'
            path.write_text(json.dumps(coco, separators=(',', ':')))
    marker = {
        'format': source.format,
        'settings': settings,
        'classes': source.classes,
        'files': _count_files(root),
        'versions': {name: version(name) for name in source.packages},
    }
    _marker(root, source).write_text(json.dumps(marker, indent=2) + '\n')


def _write_scene(root: Path, split: str, index: int, scene: Scene) -> None:
    image = Image.fromarray(scene.image)
    image.save(
        root / 'images' / split / f'{index:06d}.jpg', quality=_JPEG_QUALITY
    )
    label_map = Image.fromarray(scene.label_map())
    label_map.save(root / 'labels' / split / f'{index:06d}.png')


def _write_crops(
    folder: Path, classes: Sequence[str], index: int, scene: Scene
) -> None:
    margin = len(scene.image)
    reflected = np.pad(np.arange(margin), margin, 'reflect')
    padded_image = Image.fromarray(scene.image[reflected][:, reflected])
    for i, (x, y, width, height) in enumerate(scene.boxes()):
        half = _CROP_CONTEXT * max(width, height) / 2
        centre_x, centre_y = x + width / 2 + margin, y + height / 2 + margin
        crop = padded_image.resize(
            (margin // 2, margin // 2),
            Image.Resampling.BILINEAR,
            (
                centre_x - half,
                centre_y - half,
                centre_x + half,
                centre_y + half,
            ),
        )
        path = folder / classes[scene.labels[i]] / f'{index:06d}_{i}.jpg'
        crop.save(path, quality=_JPEG_QUALITY)


def _describe(index: int, scene: Scene) -> tuple[dict, list[dict]]:
    """COCO's entries for an image and, but for their ids, its objects."""
    height, width = scene.image.shape[:2]
    image = {
        'id': index,
        'file_name': f'{index:06d}.jpg',
        'height': height,
        'width': width,
    }
    objects = []
    for label, mask, box in zip(
        scene.labels, scene.masks, scene.boxes().tolist(), strict=True
    ):
        rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
        objects.append(
            {
                'image_id': index,
                'category_id': label + 1,
                'bbox': box,
                'area': int(mask.sum()),
                'segmentation': {
                    'size': [height, width],
                    'counts': rle['counts'].decode('ascii'),
                },
                'iscrowd': 0,
            }
        )
    return image, objects


def _count_files(root: Path) -> dict[str, int]:
    """Number of files in each folder, by its path relative to ``root``."""
    return {
        Path(folder).relative_to(root).as_posix(): len(files)
        for folder, _, files in sorted(os.walk(root))
        if files and Path(folder) != root
    }


def _marker(root: Path, source: SceneSource) -> Path:
    return root / f'{source.name.replace(" ", "_")}.json'


def _check_root(
    root: Path, settings: dict[str, int], source: SceneSource
) -> None:
    """Raise ``ValueError`` unless ``root`` is complete, with ``settings``."""
    remedy = (
        'Name another folder as data_root, or remove this one by hand and it '
        'will be made anew.'
    )
    try:
        marker = json.loads(_marker(root, source).read_text())
        found = {'format': marker['format'], **marker['settings']}
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(
            f'{root} exists but is not a {source.name} data set: it has no '
            f'readable {_marker(root, source).name}. {remedy}'
        ) from None
    wanted = {'format': source.format, **settings}
    other = [
        f'{name} {found.get(name)} instead of {value}'
        for name, value in wanted.items()
        if found.get(name) != value
    ]
    if other:
        raise ValueError(
            f'{root} holds a {source.name} data set of other settings: '
            f'{", ".join(other)}. Give all data sets of the config the same '
            f'settings. {remedy}'
        )
    present = _count_files(root)
    missing = [
        f'{number - present.get(folder, 0)} of {number} in {folder}'
        for folder, number in marker['files'].items()
        if present.get(folder, 0) < number
    ]
    if missing:
        raise ValueError(f'{root} lacks files: {", ".join(missing)}. {remedy}')
