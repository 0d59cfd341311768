# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The embedded data sets, in the form each framework reads."""

from mmengine.registry import DATASETS

from ..frameworks import import_or_placeholder, is_placeholder
from .fractals.transform import DrawFractal
from .shapes import ensure_shapes

ShapesDetDataset = import_or_placeholder(
    f'{__name__}.det', 'ShapesDetDataset', 'mmdet', DATASETS
)
ShapesSegDataset = import_or_placeholder(
    f'{__name__}.seg', 'ShapesSegDataset', 'mmseg', DATASETS
)
ShapesClsDataset = import_or_placeholder(
    f'{__name__}.cls', 'ShapesClsDataset', 'mmpretrain', DATASETS
)
FractalDataset = import_or_placeholder(
    f'{__name__}.fractals.dataset', 'FractalDataset', 'mmpretrain', DATASETS
)
OneFractalDataset = import_or_placeholder(
    f'{__name__}.fractals.dataset', 'OneFractalDataset', 'mmpretrain', DATASETS
)

__all__ = ['DrawFractal', 'ensure_shapes']
__all__ += [
    cls.__name__
    for cls in (
        ShapesDetDataset,
        ShapesSegDataset,
        ShapesClsDataset,
        FractalDataset,
        OneFractalDataset,
    )
    if not is_placeholder(cls)
]
