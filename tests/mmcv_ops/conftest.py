# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import importlib
import importlib.util
import sys

import pytest

import ivit.mmcv_ops


@pytest.fixture
def stand_in():
    """The stand-in's module, whether or not mmcv has compiled operators."""
    ivit.mmcv_ops.install()
    finder = next(f for f in sys.meta_path if type(f).__name__ == '_StandIn')
    spec = finder.find_spec('mmcv._ext')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def ops(stand_in, monkeypatch):
    """mmcv.ops, on the stand-in whether or not mmcv has compiled ones."""
    for name in ('nms', 'roi_align', 'focal_loss'):
        module = importlib.import_module(f'mmcv.ops.{name}')
        monkeypatch.setattr(module, 'ext_module', stand_in)
    return importlib.import_module('mmcv.ops')
