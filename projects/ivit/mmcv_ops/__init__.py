# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""A stand-in for ``mmcv._ext``, mmcv's compiled operators.

Where pip finds no wheel for the platform it installs mmcv without compiled
operators, and ``import mmdet.models`` fails. :func:`install` puts a module in
their place. It has the operators that the common detectors and segmentors
use, computed by torchvision and torch. Where mmcv has compiled operators,
they are used.
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
    """Finds and loads ``mmcv._ext`` and no other module."""

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
        from .extension import add_operators  # not earlier: it imports torch

        add_operators(module)


def install() -> None:
    """Make the stand-in importable where mmcv has no compiled operators.

    Its finder is the last one of ``sys.meta_path``, so compiled operators are
    found first. The function may be called again, and after an ``import
    mmcv.ops`` that failed.
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
    except (ImportError, ValueError):  # no mmcv, or a module without a spec
        return False
    return spec is not None and isinstance(spec.loader, _StandIn)
