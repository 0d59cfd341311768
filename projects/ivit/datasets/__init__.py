# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The embedded data set ``shapes``, for whichever frameworks are there."""

from importlib.util import find_spec

from .shapes import ensure_shapes

__all__ = ['ensure_shapes']

if find_spec('mmdet'):
    from .det import ShapesDetDataset

    __all__ += ['ShapesDetDataset']
if find_spec('mmseg'):
    from .seg import ShapesSegDataset

    __all__ += ['ShapesSegDataset']
if find_spec('mmpretrain'):
    from .cls import ShapesClsDataset

    __all__ += ['ShapesClsDataset']
