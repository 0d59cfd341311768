# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""``shapes`` for mmpretrain: crops in one folder per class."""

from mmengine.registry import DATASETS
from mmpretrain.datasets import CustomDataset

from .mixin import ShapesMixin
from .scenes import CLASSES, PALETTE


@DATASETS.register_module()
class ShapesClsDataset(ShapesMixin, CustomDataset):
    """Object crops of ``shapes``; arguments as in both bases."""

    METAINFO = {'classes': CLASSES, 'palette': list(PALETTE)}
