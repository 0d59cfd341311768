# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Scenes for mmdet: boxes and instance masks."""

from mmdet.datasets import CocoDataset
from mmengine.registry import DATASETS

from .mixin import FractalScenesMixin, ShapesMixin
from .shape_scenes import CLASSES, PALETTE


@DATASETS.register_module()
class ShapesDetDataset(ShapesMixin, CocoDataset):
    """Instances of ``shapes`` in COCO's format.

    It takes the arguments of ``ShapesMixin`` and of mmdet's ``CocoDataset``.
    """

    METAINFO = {'classes': CLASSES, 'palette': list(PALETTE)}


@DATASETS.register_module()
class FractalScenesDetDataset(FractalScenesMixin, CocoDataset):
    """Instances of ``fractal scenes`` in COCO's format.

    It takes the arguments of ``FractalScenesMixin`` and of mmdet's
    ``CocoDataset``.
    """
