# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Linear-attention vision backbones for OpenMMLab dense prediction.

``import ivit`` needs torch, mmengine, mmcv and what pip installs with ivit. Of
mmdet, mmseg and mmpretrain it uses those that are installed; see
:mod:`ivit.frameworks`.

What importing it changes outside of the package:

- Where mmcv has no compiled operators, ``mmcv._ext`` becomes importable: a
  finder at the end of ``sys.meta_path`` answers for that name alone.
  :func:`ivit.mmcv_ops.uninstall` undoes it.
- mmengine loads checkpoints from local files and web addresses with loaders
  that check the file. :func:`ivit.checkpoints.uninstall_loaders` undoes it.
- mmengine's root registries have more names: the backbones (``MODELS``), the
  forms of ``shapes``, ``fractals`` and ``fractal scenes`` (``DATASETS``),
  ``DrawFractal`` (``TRANSFORMS``), ``CompileBackboneHook`` and
  ``ReportHook`` (``HOOKS``), ``BFloat16CPUOptimWrapper``
  (``OPTIM_WRAPPERS``), and two constructors
  (``OPTIM_WRAPPER_CONSTRUCTORS``). That is how configs of mmdet, mmseg and
  mmpretrain find them. No name is replaced, and a framework's own class of
  the same name comes first in its configs.
- With a GPU and Triton, torch has two more operators,
  ``torch.ops.ivit.focused_attention`` and its backward pass, and its FLOP
  counter knows them. No operator is replaced.
- Of the frameworks that are installed, the data sets are imported, with all
  that this registers of theirs.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import mmcv_ops

mmcv_ops.install()  # before anything below imports mmcv.ops

try:
    from . import backbones, checkpoints, datasets, engine

    checkpoints.install_loaders()
except Exception:
    # Both of these must start in order to say what is wrong.
    if {f'{__name__}.check_env', 'check-env'}.isdisjoint(sys.orig_argv):
        raise

__version__ = '0.2.0'
__all__ = [
    'backbones',
    'checkpoints',
    'create',
    'datasets',
    'engine',
    'load',
    'mmcv_ops',
    'train',
]

if TYPE_CHECKING:
    from .backbones.named import create
    from .inference.load import load
    from .training import train

# Modules of functions that are imported when someone asks for them.
_LAZY = {
    'create': '.backbones.named',
    'load': '.inference',
    'train': '.training',
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(_LAZY[name], __name__), name)
