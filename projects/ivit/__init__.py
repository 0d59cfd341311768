# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Linear-attention vision backbones for OpenMMLab dense prediction.

Importing the package puts the stand-in for ``mmcv._ext`` in place where mmcv
has no compiled ops, and registers the backbones and data sets in mmengine's
root registries, so that mmdet, mmseg and mmpretrain all find them by name.
"""

import sys

from . import mmcv_ops

mmcv_ops.install()  # before anything below imports mmcv.ops

try:
    from . import backbones, datasets, engine
except Exception:
    # `python -m ivit.check_env` must start in order to say what is wrong.
    if f'{__name__}.check_env' not in sys.orig_argv:
        raise

__version__ = '0.1.0'
__all__ = ['backbones', 'datasets', 'engine', 'mmcv_ops']
