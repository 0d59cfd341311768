# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    shutil.which('make') is None, reason='make is not installed'
)


@pytest.fixture
def make(tmp_path):
    """Run make in a copy of the files that a set-up reads."""
    files = ('Makefile', 'setup.cfg', 'pyproject.toml', 'constraints.txt')
    for name in files:
        shutil.copy(ROOT / name, tmp_path)

    def run(*args):
        return subprocess.run(
            ['make', *args],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def python(tmp_path, body):
    """A stand-in for an interpreter."""
    stub = tmp_path / 'python-stub'
    stub.write_text(f'#!/bin/sh\n{body}\n')
    stub.chmod(0o755)
    return f'PYTHON={stub}'


def test_help_is_the_default(make):
    done = make()
    assert done.returncode == 0
    for target in ('demo', 'check', 'test', 'lint', 'types'):
        assert f'make {target} ' in done.stdout
    assert 'PYTHON=' in done.stdout


def test_no_such_python(make, tmp_path):
    done = make('test', 'PYTHON=python-of-nobody')
    assert done.returncode != 0
    assert 'there is no "python-of-nobody" here' in done.stderr
    assert 'make test PYTHON=' in done.stderr
    assert not (tmp_path / '.venv').exists()


@pytest.mark.parametrize('version', ['3.9', '3.13'])
def test_python_too_old_or_too_new(make, tmp_path, version):
    done = make('demo', python(tmp_path, f'echo {version}'))
    assert done.returncode != 0
    assert f'is Python {version}; 3.10, 3.11 or 3.12 is needed' in done.stderr
    assert 'make demo PYTHON=' in done.stderr
    assert not (tmp_path / '.venv').exists()


def test_python_without_venv(make, tmp_path):
    body = 'case "$2" in *venv*) exit 1;; *) echo 3.10;; esac'
    done = make('test', python(tmp_path, body))
    assert done.returncode != 0
    assert 'has no venv module' in done.stderr


TESTS = 'pytest -n auto --dist loadfile'
FAKE_VENV = """\
case "$1 $2" in
'-c import sys'*) echo 3.11;;
'-c print(1)') echo 1;;
'-m venv')
    echo venv >> log
    mkdir -p .venv/bin
    cp "$0" .venv/bin/python;;
'-m pip')
    echo "pip says something" >&2
    echo pip >> log
    test ! -e registry-down;;
'-m ruff' | '-m mypy' | '-m pytest')
    shift
    echo "$*" >> log
    ! grep -sqx "$*" failing;;
esac
"""


def test_set_up_once_again_after_failure_and_on_change(make, tmp_path):
    log = tmp_path / 'log'

    def steps(*args):
        log.write_text('')
        done = make('test', *(args or [stub]))
        return done, log.read_text().splitlines()

    stub = python(tmp_path, FAKE_VENV)
    (tmp_path / 'registry-down').touch()
    done, said = steps()
    assert done.returncode != 0
    assert 'pip says something' in done.stderr
    assert 'If the package registry is out of reach' in done.stderr
    assert 'make test PIP_INDEX_URL=' in done.stderr
    assert said == ['venv', 'pip']

    (tmp_path / 'registry-down').unlink()
    everything = ['venv', 'pip', TESTS]
    assert steps()[1] == everything  # what was left off is done again
    assert steps()[1] == [TESTS]
    with (tmp_path / 'constraints.txt').open('a') as file:
        file.write('# changed\n')
    assert steps()[1] == everything
    (tmp_path / '.venv/bin/python').unlink()  # broken
    assert steps()[1] == everything
    for other in ('python-other', 'elsewhere/python-stub'):
        other = tmp_path / other
        other.parent.mkdir(exist_ok=True)
        shutil.copy(tmp_path / 'python-stub', other)
        assert steps(f'PYTHON={other}')[1] == everything
        assert steps(f'PYTHON={other}')[1] == [TESTS]


def test_check_is_lint_types_and_the_fast_tests(make, tmp_path):
    stub = python(tmp_path, FAKE_VENV)
    failing, log = tmp_path / 'failing', tmp_path / 'log'
    failing.touch()
    assert make('lint', stub).returncode == 0  # sets up
    steps = [
        'ruff check .',
        'ruff format --check .',
        'mypy projects/ivit',
        f'{TESTS} -m not slow',
    ]
    for step in (None, *steps):
        log.write_text('')
        failing.write_text(f'{step}\n')
        assert (make('check', stub).returncode == 0) is (step is None)
        end = len(steps) if step is None else steps.index(step) + 1
        assert log.read_text().splitlines() == steps[:end]


def test_constraints_pin_what_is_declared():
    """Every requirement of setup.cfg has its tested version."""
    setup = ConfigParser()
    setup.read(ROOT / 'setup.cfg')
    extras = setup['options.extras_require']
    names = ('onedl-det', 'onedl-seg', 'onedl-cls', 'onnx', 'dev')
    assert extras['onedl'].strip() == f'ivit[{",".join(names[:3])}]'
    declared = '\n'.join(
        [setup['options']['install_requires'], *map(extras.get, names)]
    )
    pins = [
        Requirement(line)
        for line in (ROOT / 'constraints.txt').read_text().splitlines()
        if line and not line.startswith('#')
    ]
    for python_version in ('3.10', '3.11', '3.12'):
        pinned = {
            canonicalize_name(pin.name): str(pin.specifier).lstrip('=')
            for pin in pins
            if not pin.marker
            or pin.marker.evaluate(dict(python_version=python_version))
        }
        for line in declared.split('\n'):
            wanted = Requirement(line or 'ivit')
            if wanted.name != 'ivit':  # of which `dev` has an extra
                version = pinned[canonicalize_name(wanted.name)]
                assert wanted.specifier.contains(version), line
