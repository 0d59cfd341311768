# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Scenes for mmseg: label maps with background as class 0."""

from mmengine.registry import DATASETS
from mmseg.datasets import BaseSegDataset

from .mixin import FractalScenesMixin, ShapesMixin
from .shape_scenes import CLASSES, PALETTE


@DATASETS.register_module()
class ShapesSegDataset(ShapesMixin, BaseSegDataset):
    """Label maps of ``shapes``.

    It takes the arguments of ``ShapesMixin`` and of mmseg's
    ``BaseSegDataset``.
    """

    METAINFO = {
        'classes': ('background', *CLASSES),
        'palette': [(0, 0, 0), *PALETTE],
    }


@DATASETS.register_module()
class FractalScenesSegDataset(FractalScenesMixin, BaseSegDataset):
    """Label maps of ``fractal scenes``.

    It takes the arguments of ``FractalScenesMixin`` and of mmseg's
    ``BaseSegDataset``.
    """

    with_background = True
