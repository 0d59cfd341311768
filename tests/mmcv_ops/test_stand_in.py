# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import importlib
import importlib.util
import subprocess
import sys

import mmcv
import pytest
import torch
from mmengine.utils.dl_utils.misc import mmcv_full_available

import ivit.mmcv_ops
from ivit.mmcv_ops.missing import MissingOpError


@pytest.fixture
def fresh(monkeypatch):
    """As before the first import of mmcv._ext; restored afterwards."""
    current = importlib.import_module('mmcv._ext')
    monkeypatch.setattr(mmcv, '_ext', current, raising=False)
    monkeypatch.delitem(sys.modules, 'mmcv._ext')
    monkeypatch.setattr(mmcv, '__path__', list(mmcv.__path__))
    return monkeypatch


def compiled(tmp_path, text):
    """Stand for a compiled extension: a real file found on mmcv's path."""
    (tmp_path / '_ext.py').write_text(text)
    mmcv.__path__.insert(0, str(tmp_path))
    importlib.invalidate_caches()


def test_extension_is_found():
    spec = importlib.util.find_spec('mmcv._ext')
    assert spec.name == 'mmcv._ext'
    assert mmcv_full_available()
    module = importlib.import_module('mmcv._ext')
    assert ivit.mmcv_ops.is_stand_in() == (not hasattr(module, '__file__'))


def test_compiled_extension_wins(fresh, tmp_path):
    compiled(tmp_path, 'nms = "compiled"')
    ivit.mmcv_ops.install()
    assert not ivit.mmcv_ops.is_stand_in()
    assert importlib.import_module('mmcv._ext').nms == 'compiled'


def test_broken_compiled_extension_stays_an_error(fresh, tmp_path):
    compiled(tmp_path, 'raise ImportError("undefined symbol")')
    ivit.mmcv_ops.install()
    with pytest.raises(ImportError, match='undefined symbol'):
        importlib.import_module('mmcv._ext')


def test_installed_once_and_last(monkeypatch):
    others = [f for f in sys.meta_path if type(f).__name__ != '_StandIn']
    monkeypatch.setattr(sys, 'meta_path', list(others))
    ivit.mmcv_ops.install()
    ivit.mmcv_ops.install()
    assert sys.meta_path[:-1] == others
    assert sys.meta_path[-1].find_spec('mmcv._ext') is not None
    assert sys.meta_path[-1].find_spec('mmcv.other') is None


def test_uninstall(fresh):
    fresh.setattr(sys, 'meta_path', list(sys.meta_path))
    ivit.mmcv_ops.uninstall()
    without = importlib.util.find_spec('mmcv._ext')  # None, or compiled
    ivit.mmcv_ops.install()
    extension = importlib.import_module('mmcv._ext')
    assert mmcv._ext is extension
    for _ in range(2):
        ivit.mmcv_ops.uninstall()
        assert not ivit.mmcv_ops.is_stand_in()
        assert not any(type(f).__name__ == '_StandIn' for f in sys.meta_path)
        if without is None:
            assert not hasattr(mmcv, '_ext')
            with pytest.raises(ModuleNotFoundError, match='mmcv._ext'):
                importlib.import_module('mmcv._ext')
        else:
            assert importlib.import_module('mmcv._ext') is extension
    ivit.mmcv_ops.install()
    importlib.import_module('mmcv._ext')
    assert ivit.mmcv_ops.is_stand_in() == (without is None)


def test_missing_op_says_what_to_do(stand_in):
    assert hasattr(stand_in, 'carafe_forward')
    with pytest.raises(MissingOpError, match='carafe_forward') as error:
        stand_in.carafe_forward(torch.ones(1), scale=2)
    for part in ('compiled', '--no-build-isolation', 'docs/mmcv_ops.md'):
        assert part in str(error.value)


def test_missing_op_through_mmcv(ops, stand_in, monkeypatch):
    module = importlib.import_module('mmcv.ops.roi_pool')
    monkeypatch.setattr(module, 'ext_module', stand_in)
    with pytest.raises(MissingOpError, match='roi_pool_forward'):
        ops.roi_pool(torch.ones(1, 1, 4, 4), torch.ones(1, 5), 2)


@pytest.mark.parametrize('name', ['__wrapped__', '__path__', '_private'])
def test_no_private_or_special_names(stand_in, name):
    assert not hasattr(stand_in, name)


def test_versions_do_not_claim_a_compiler(stand_in):
    assert 'ivit' in stand_in.get_compiler_version()
    assert 'none' in stand_in.get_compiling_cuda_version()


def test_no_mmcv_is_no_stand_in(monkeypatch):
    def find_spec(name):
        raise ModuleNotFoundError("No module named 'mmcv'", name='mmcv')

    monkeypatch.setattr(importlib.util, 'find_spec', find_spec)
    assert not ivit.mmcv_ops.is_stand_in()


LATE = """
import importlib.util, sys
from pathlib import Path
path = Path(sys.argv[1])
spec = importlib.util.spec_from_file_location(
    'apart', path, submodule_search_locations=[str(path.parent)])
ops = sys.modules['apart'] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ops)
assert not {'torch', 'mmcv'} & sys.modules.keys(), 'importing it is cheap'
before = importlib.util.find_spec('mmcv._ext')
try:
    import mmcv.ops
except ModuleNotFoundError:
    assert before is None
ops.install()
import mmcv.ops
assert ops.is_stand_in() == (before is None)
import numpy as np
print(mmcv.ops.nms(np.eye(1, 4, dtype='f'), np.ones(1, 'f'), 0.5)[1])
"""


@pytest.mark.slow
def test_installed_after_a_failed_import():
    command = [sys.executable, '-c', LATE, ivit.mmcv_ops.__file__]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ['[0]']
