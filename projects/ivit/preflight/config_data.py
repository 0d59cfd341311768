# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The data that a config names, as records that can be checked."""

import inspect
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from ..annotations import (
    IGNORED,
    AnnotatedData,
    DetectionSplit,
    LabelEncoding,
    SegmentationSplit,
)
from ..annotations.layouts.coco import load_coco_json
from ..engine.errors import UsageError
from ..frameworks import FRAMEWORKS
from ..nested import innermost_datasets

# Data sets that make or download their files on first use.
SELF_MADE = (
    'Shapes',
    'Fractal',
    'OneFractal',
    'CIFAR',
    'MNIST',
    'FashionMNIST',
)
# What Python says of an argument that a class does not have.
UNKNOWN = re.compile(r"unexpected keyword argument '(\w+)'")


@dataclass
class ConfigDataset:
    """A data set of a config.

    Attributes:
        phase: The loader it is in: ``'train'``, ``'val'`` or ``'test'``.
        config: Its part of the config.
        built: The data set itself, without its annotations.
        classes: Names of its classes, as it will number them; None if it has
            none.
    """

    phase: str
    config: dict[str, Any]
    built: Any
    classes: tuple[str, ...] | None

    @property
    def ann_file(self) -> str:
        """Its annotation file, with the root."""
        return self.built.ann_file or ''

    def __str__(self) -> str:
        return f'{self.phase}_dataloader'

    def read(self) -> AnnotatedData | None:
        """Its annotations; None if they are of a kind that is not known.

        Raises:
            ValueError: If the annotations cannot be read.
        """
        kinds = {cls.__name__ for cls in type(self.built).__mro__}
        if 'CocoDataset' in kinds and self.ann_file.endswith('.json'):
            return self._read_objects()
        if 'BaseSegDataset' in kinds:
            return self._read_label_maps()
        return None

    def _read_objects(self) -> AnnotatedData:
        path = Path(self.ann_file)
        prefix = self.built.data_prefix.get('img') or ''
        split = DetectionSplit(Path(prefix), load_coco_json(path), path)
        return AnnotatedData(
            path, 'COCO', 'detection', self.classes or (), {self.phase: split}
        )

    def _read_label_maps(self) -> AnnotatedData | None:
        dataset = self.built
        if not dataset.data_prefix.get('seg_map_path'):
            return None
        samples = dataset.load_data_list()
        folder = Path(dataset.data_prefix['img_path'])
        if not samples:
            raise UsageError(_no_image(folder, dataset.img_suffix, self.phase))
        pairs = [
            (Path(sample['img_path']), Path(sample['seg_map_path']))
            for sample in samples
        ]
        return AnnotatedData(
            folder,
            'label maps',
            'segmentation',
            self.classes or (),
            {self.phase: SegmentationSplit(folder, pairs)},
            encoding=self._encoding(),
        )

    def _encoding(self) -> LabelEncoding:
        """What mmseg makes of the values of a label map."""
        number = len(self.classes or ())
        values = dict(self.built.label_map or {i: i for i in range(number)})
        if self.built.reduce_zero_label:
            # 0 is left out, and what follows moves down by one.
            values = {0: IGNORED} | {i + 1: i for i in range(number)}
        return LabelEncoding(values | {self.built.ignore_index: IGNORED})


def iterate_datasets(
    cfg: Config, phases: Sequence[str]
) -> Iterator[ConfigDataset]:
    """Every data set of a config's loaders, without annotations.

    Data sets that make their own files are left out, and those whose class
    is not to be found or refuses the config: building the loader tells why.

    Args:
        cfg: The experiment's config.
        phases: The loaders, of ``'train'``, ``'val'`` and ``'test'``.

    Raises:
        UsageError: If a data set has a key that its class does not take.
    """
    scope = cfg.get('default_scope')
    if scope not in FRAMEWORKS:
        return
    with DATASETS.switch_scope_and_registry(scope) as registry:
        for phase, config in innermost_of_loaders(cfg, phases):
            kind = config.get('type')
            cls = registry.get(kind) if isinstance(kind, str) else kind
            if not inspect.isclass(cls) or cls.__name__.startswith(SELF_MADE):
                continue
            try:
                built: Any = registry.build(
                    dict(config, pipeline=[], lazy_init=True)
                )
            except TypeError as error:
                unknown = UNKNOWN.search(str(error))
                if unknown and unknown[1] in config:
                    raise UsageError(
                        f'{phase}_dataloader.dataset has the key '
                        f'{unknown[1]!r}, which {cls.__name__} does not '
                        'take. Is it misspelt?'
                    ) from error
                continue
            except Exception:  # the loader is built later, and raises again
                continue
            classes = built.metainfo.get('classes')
            names = None if classes is None else tuple(map(str, classes))
            yield ConfigDataset(phase, config, built, names)


def innermost_of_loaders(
    cfg: Config, phases: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The phase and the config of each data set that has files."""
    for phase in phases:
        loader = cfg.get(f'{phase}_dataloader') or {}
        for dataset in innermost_datasets(loader.get('dataset') or {}):
            yield phase, dataset


def _no_image(folder: Path, suffix: str, phase: str) -> str:
    """Say that a folder has no image with the suffix that is looked for."""
    found = sorted(
        {
            os.path.splitext(name)[1]
            for _, _, names in os.walk(folder)
            for name in names
        }
    )
    has = ', '.join(repr(one) for one in found if one) or 'no files'
    return (
        f'{folder} has no image with the suffix {suffix!r}; it has {has}. Set '
        f'{phase}_dataloader.dataset.img_suffix'
    )
