# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The embedded data sets, in the form each framework reads."""

from mmengine.registry import DATASETS

from ..frameworks import import_or_placeholder, is_placeholder
from .fractals.scenes import ensure_fractal_scenes
from .fractals.transform import DrawFractal
from .shapes import ensure_shapes

__all__ = ['DrawFractal', 'ensure_fractal_scenes', 'ensure_shapes']

for _module, _framework, _names in (
    ('det', 'mmdet', ('ShapesDetDataset', 'FractalScenesDetDataset')),
    ('seg', 'mmseg', ('ShapesSegDataset', 'FractalScenesSegDataset')),
    ('cls', 'mmpretrain', ('ShapesClsDataset',)),
    (
        'fractals.dataset',
        'mmpretrain',
        ('FractalDataset', 'OneFractalDataset'),
    ),
):
    for _name in _names:
        globals()[_name] = _class = import_or_placeholder(
            f'{__name__}.{_module}', _name, _framework, DATASETS
        )
        if not is_placeholder(_class):
            __all__ += [_name]
