# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What annotations of every layout come down to.

An adapter of ``layouts/`` reads a folder into an :class:`AnnotatedData`.
Checks, configs and pages work with that alone and know of no layout.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ..palette import color_classes, make_palette
from .faults import Faults
from .label_maps import LabelEncoding

Task = Literal['detection', 'segmentation', 'classification']
Color: TypeAlias = tuple[int, int, int]


@dataclass
class DetectionSplit:
    """Images with objects, as in a COCO annotation file.

    Attributes:
        image_root: The folder that file names are relative to.
        coco: The content of the file: ``images``, ``annotations`` and
            ``categories``. Adapters of other layouts write the same.
        ann_file: The file, if ``coco`` is its content as it is; None if the
            content was made from something else.
    """

    image_root: Path
    coco: dict[str, Any]
    ann_file: Path | None = None

    def __len__(self) -> int:
        return len(self.coco['images'])

    @property
    def images(self) -> list[Path]:
        """Paths of the images that have one."""
        return [
            self.image_root / image['file_name']
            for image in self.coco['images']
            if isinstance(image.get('file_name'), str) and image['file_name']
        ]

    def subset(self, indices: Sequence[int]) -> 'DetectionSplit':
        """Some of the images, with their objects."""
        images = [self.coco['images'][i] for i in indices]
        kept = {image['id'] for image in images}
        annotations = [
            annotation
            for annotation in self.coco['annotations']
            if annotation['image_id'] in kept
        ]
        coco = self.coco | dict(images=images, annotations=annotations)
        return DetectionSplit(self.image_root, coco)


@dataclass
class SegmentationSplit:
    """Images with label maps.

    Attributes:
        image_root: The folder that all images are in, at any depth.
        pairs: Paths of each image and of its label map.
    """

    image_root: Path
    pairs: list[tuple[Path, Path]]

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def images(self) -> list[Path]:
        """Paths of the images."""
        return [image for image, _ in self.pairs]

    def subset(self, indices: Sequence[int]) -> 'SegmentationSplit':
        """Some of the images, with their label maps."""
        return replace(self, pairs=[self.pairs[i] for i in indices])


@dataclass
class ClassificationSplit:
    """Images with one class each.

    Attributes:
        image_root: The folder that all images are in, at any depth.
        samples: The path of each image, and the index of its class.
    """

    image_root: Path
    samples: list[tuple[Path, int]]

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def images(self) -> list[Path]:
        """Paths of the images."""
        return [image for image, _ in self.samples]

    def subset(self, indices: Sequence[int]) -> 'ClassificationSplit':
        """Some of the images, with their classes."""
        return replace(self, samples=[self.samples[i] for i in indices])


Split: TypeAlias = DetectionSplit | SegmentationSplit | ClassificationSplit


@dataclass
class AnnotatedData:
    """A user's data, read from whatever layout it has.

    Attributes:
        root: The folder.
        layout: Name of the layout, such as ``'YOLO'``.
        task: What its annotations are for.
        classes: Names of the classes, in the order of their indices. In a
            detection data set they are the names of the categories that are
            trained on.
        splits: ``'train'`` and, where there are any, ``'val'`` and
            ``'test'``.
        palette: A colour for each class, if the data has any.
        encoding: Of a segmentation data set, what its label maps store.
        notes: What was decided in reading it, in sentences for the log.
        faults: What is wrong with it, as far as reading it has shown.
    """

    root: Path
    layout: str
    task: Task
    classes: tuple[str, ...]
    splits: dict[str, Split]
    palette: list[Color] | None = None
    encoding: LabelEncoding | None = None
    notes: list[str] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)

    @property
    def colors(self) -> list[Color]:
        """A colour for each class, of the data or made."""
        if self.palette is not None:
            return self.palette
        if self.task == 'segmentation':
            return color_classes(self.classes)
        return make_palette(len(self.classes))

    @property
    def has_masks(self) -> bool:
        """Whether objects have masks: at least one has."""
        return self.task == 'detection' and any(
            annotation.get('segmentation')
            for split in self.splits.values()
            if isinstance(split, DetectionSplit)
            for annotation in split.coco['annotations']
        )
