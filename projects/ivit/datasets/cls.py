# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""``shapes`` for mmpretrain: crops in one folder per class."""

from mmengine.registry import DATASETS
from mmpretrain.datasets import CustomDataset

from .mixin import ShapesMixin
from .shape_scenes import CLASSES, PALETTE


@DATASETS.register_module()
class ShapesClsDataset(ShapesMixin, CustomDataset):
    """Object crops of ``shapes``, one object each.

    It takes the arguments of ``ShapesMixin`` and of mmpretrain's
    ``CustomDataset``.
    """

    METAINFO = {'classes': CLASSES, 'palette': list(PALETTE)}
