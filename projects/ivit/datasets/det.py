# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""``shapes`` for mmdet: boxes and instance masks."""

from mmdet.datasets import CocoDataset
from mmengine.registry import DATASETS

from .mixin import ShapesMixin
from .scenes import CLASSES, PALETTE


@DATASETS.register_module()
class ShapesDetDataset(ShapesMixin, CocoDataset):
    """COCO-format instances of ``shapes``; arguments as in both bases."""

    METAINFO = {'classes': CLASSES, 'palette': list(PALETTE)}
