# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The embedded data set ``shapes``, for whichever frameworks are there."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from mmengine.logging import print_log

from .shapes import ensure_shapes

__all__ = ['ensure_shapes']


@contextmanager
def _unless_broken(package: str) -> Iterator[None]:
    """Go on without a framework that is installed but cannot be imported."""
    try:
        yield
    except Exception as error:  # some assert versions, some lack libraries
        first_line = (str(error).splitlines() or [''])[0]
        print_log(
            f'ivit goes on without {package}, whose import fails: '
            f'{type(error).__name__}: {first_line}',
            logger='current',
            level=logging.WARNING,
        )


if find_spec('mmdet'):
    with _unless_broken('mmdet'):
        from .det import ShapesDetDataset

        __all__ += ['ShapesDetDataset']
if find_spec('mmseg'):
    with _unless_broken('mmseg'):
        from .seg import ShapesSegDataset

        __all__ += ['ShapesSegDataset']
if find_spec('mmpretrain'):
    with _unless_broken('mmpretrain'):
        from .cls import ShapesClsDataset

        __all__ += ['ShapesClsDataset']
