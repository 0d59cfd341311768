# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import importlib
import importlib.metadata
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from ivit import check_env
from ivit.frameworks import FRAMEWORKS

ONEDL = {
    'mmengine': ['onedl-mmengine'],
    'mmcv': ['onedl-mmcv'],
    'mmdet': ['onedl-mmdetection'],
    'mmseg': ['onedl-mmsegmentation'],
    'mmpretrain': ['onedl-mmpretrain'],
}


@pytest.fixture
def broken(monkeypatch):
    """Make the import of some modules raise."""
    errors = {}
    original = importlib.import_module

    def import_module(name, package=None):
        if name in errors:
            raise errors[name]
        return original(name, package)

    monkeypatch.setattr(importlib, 'import_module', import_module)
    return errors


def missing(name):
    return ModuleNotFoundError(f'No module named {name!r}', name=name)


def with_python_path(folder):
    """The environment of a process that looks there for modules first."""
    others = os.environ.get('PYTHONPATH', '').split(os.pathsep)
    path = os.pathsep.join([str(folder), *filter(None, others)])
    return {**os.environ, 'PYTHONPATH': path}


def installed(monkeypatch, **changes):
    names = {**ONEDL, **changes}
    monkeypatch.setattr(
        importlib.metadata, 'packages_distributions', lambda: names
    )


def answer(capsys):
    status = check_env.main()
    return status, capsys.readouterr().out


def test_this_environment_is_usable(capsys):
    status, out = answer(capsys)
    assert status == 0
    for name in (*check_env.NEEDED, 'Python', 'CUDA', 'mmcv ops'):
        assert name in out
    assert 'nms, roi_align: right' in out
    assert out.endswith('ivit is usable here\n')


@pytest.mark.slow
@pytest.mark.parametrize(
    'command', [['ivit.check_env'], ['ivit', 'check-env']]
)
def test_as_a_command_without_mmengine(tmp_path, command):
    (tmp_path / 'sitecustomize.py').write_text(
        'import sys\n'
        'class Without:\n'
        '    def find_spec(self, name, path=None, target=None):\n'
        '        if name == "mmengine":\n'
        '            raise ModuleNotFoundError(name, name=name)\n'
        'sys.meta_path.insert(0, Without())\n'
    )
    done = subprocess.run(
        [sys.executable, '-m', *command],
        env=with_python_path(tmp_path),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert 'ERROR: mmengine is not installed' in done.stdout
    assert 'pip install' in done.stdout


@pytest.mark.parametrize('name', ['torch', 'torchvision', 'mmengine', 'mmcv'])
def test_needed_package_missing(broken, capsys, name):
    broken[name] = missing(name)
    status, out = answer(capsys)
    assert status == 1
    assert f'ERROR: {name} is not installed\n  in the ivit' in out
    assert out.endswith('ivit is not usable here\n')


def test_task_package_missing(broken, capsys):
    broken['mmdet'] = missing('mmdet')
    status, out = answer(capsys)
    assert status == 0
    assert 'WARNING: mmdet is not installed, so there is no detection' in out


def test_no_task_package(broken, capsys):
    broken.update({name: missing(name) for name in FRAMEWORKS})
    status, out = answer(capsys)
    assert status == 0
    assert 'WARNING: none of mmdet, mmseg and mmpretrain' in out
    assert out.endswith('ivit is usable here\n')


@pytest.mark.slow
def test_package_refuses_a_version(tmp_path):
    """Users of the other frameworks go on."""
    stub = tmp_path / 'mmseg/__init__.py'
    stub.parent.mkdir()
    stub.write_text('raise AssertionError("MMCV==2 is incompatible\\nmore")')
    code = (
        'import ivit, sys; print(*sorted(ivit.datasets.__all__));'
        'from ivit import check_env; sys.exit(check_env.main())'
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        env=with_python_path(tmp_path),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    reason = 'import fails: AssertionError: MMCV==2 is incompatible\n'
    assert f'ivit goes on without mmseg, whose {reason}' in done.stdout
    names = done.stdout.splitlines()[1].split()
    assert {'ensure_shapes', 'ShapesDetDataset', 'ShapesClsDataset'} <= {
        *names
    }
    assert not [name for name in names if 'Seg' in name]
    reason = reason.replace('import fails', 'import mmseg fails')
    assert f'WARNING: {reason}' in done.stdout
    assert done.stdout.endswith('ivit is usable here\n')


def test_own_parts_fail(broken, capsys):
    broken['.backbones'] = RuntimeError('no luck')
    status, out = answer(capsys)
    assert status == 1
    assert 'import ivit fails: RuntimeError: no luck' in out


@pytest.mark.parametrize(
    ('stand_in', 'remedy'),
    [(False, 'compiled for another torch'), (True, 'torch and torchvision')],
)
def test_ops_fail(monkeypatch, capsys, stand_in, remedy):
    def nms(*args):
        raise RuntimeError('nms_impl: implementation for cpu not found')

    monkeypatch.setattr('mmcv.ops.nms', nms)
    monkeypatch.setattr(check_env.mmcv_ops, 'is_stand_in', lambda: stand_in)
    status, out = answer(capsys)
    assert status == 1
    assert 'on cpu    failed' in out
    assert 'mmcv.ops on cpu: RuntimeError: nms_impl' in out
    assert remedy in out


def test_ops_wrong(monkeypatch):
    monkeypatch.setattr('mmcv.ops.roi_align', lambda x, *args: x)
    (problem,) = check_env.check_ops('cpu', ['onedl-mmcv'])
    assert problem.fatal


def test_both_lines_of_one_package(monkeypatch, capsys):
    installed(monkeypatch, mmcv=['onedl_mmcv', 'mmcv'])
    status, out = answer(capsys)
    assert status == 0
    assert 'mmcv and onedl-mmcv overwrite each other as mmcv' in out
    assert 'pip uninstall -y mmcv onedl-mmcv' in out
    assert '(OneDL and upstream)' in out


def test_mixed_lines(monkeypatch, capsys):
    installed(monkeypatch, mmdet=['mmdet'])
    _, out = answer(capsys)
    assert 'packages of both lines are installed: mmdet, onedl-mmcv' in out


def test_one_line_is_no_problem():
    assert check_env.check_lines(ONEDL) == []


@pytest.mark.parametrize(
    ('versions', 'names', 'text'),
    [
        ({'torch': '2.3.1'}, {}, 'torch 2.3.1 is older than 2.4'),
        ({'torch': '2.6.0'}, {'mmengine': ['mmengine']}, 'weights only'),
        ({'torch': '2.5.1'}, {'mmengine': ['mmengine']}, None),
        ({'torch': '2.10.0+cu128'}, ONEDL, None),
        ({'numpy': '1.26.4'}, ONEDL, 'needs numpy 2'),
        ({'numpy': '1.26.4'}, {'mmseg': ['mmsegmentation']}, None),
    ],
)
def test_known_bad_versions(monkeypatch, versions, names, text):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: name)
    modules = {k: SimpleNamespace(__version__=v) for k, v in versions.items()}
    problems = check_env.check_versions(modules, names)
    assert [p for p in problems if not text or text not in p.text] == []
    assert len(problems) == (text is not None)


def test_upstream_mmengine_needs_pkg_resources(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    (problem,) = check_env.check_versions({}, {'mmengine': ['mmengine']})
    assert 'setuptools<82' in problem.remedy
