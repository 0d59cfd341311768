# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""A stand-in for ``mmcv._ext``, mmcv's compiled operators.

mmcv installs without compiled operators when pip finds no wheel for the
platform, and ``import mmdet.models`` then fails. :func:`install` makes the
operators that the common detectors and segmentors reach importable on
torchvision's kernels; compiled operators, where present, are left alone.
"""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ['install', 'is_stand_in', 'uninstall']

EXTENSION = 'mmcv._ext'


class _StandIn(MetaPathFinder, Loader):
    """Finds and loads ``mmcv._ext`` and answers for nothing else."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname != EXTENSION:
            return None
        return ModuleSpec(fullname, self, origin=__name__)

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        from .extension import fill  # torch is needed only from here on

        fill(module)


def install() -> None:
    """Make the stand-in importable where mmcv has no compiled operators.

    It goes to the end of ``sys.meta_path``, so compiled operators always
    win. Calling it again, or after a failed ``import mmcv.ops``, is safe.
    """
    if not any(isinstance(finder, _StandIn) for finder in sys.meta_path):
        sys.meta_path.append(_StandIn())


def uninstall() -> None:
    """Undo :func:`install`.

    ``import mmcv._ext`` then finds what mmcv itself has. Modules that were
    imported before, such as ``mmcv.ops``, keep the operators they hold.
    Calling it again changes nothing.
    """
    for finder in [f for f in sys.meta_path if isinstance(f, _StandIn)]:
        sys.meta_path.remove(finder)
    extension = sys.modules.get(EXTENSION)
    if isinstance(getattr(extension, '__loader__', None), _StandIn):
        del sys.modules[EXTENSION]
        del sys.modules['mmcv']._ext


def is_stand_in() -> bool:
    """Whether mmcv's operators are this stand-in (imports mmcv)."""
    try:
        spec = importlib.util.find_spec(EXTENSION)
    except (ImportError, ValueError):  # no mmcv; a module without a spec
        return False
    return spec is not None and isinstance(spec.loader, _StandIn)
