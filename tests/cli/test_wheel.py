# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The wheel, installed in an environment that knows no repository."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ('configs', 'projects', 'tools', 'model-index.yml')
SOURCES += ('setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE')
FEW = ['train_cfg.max_epochs=1'] + [
    f'{split}_dataloader.dataset.{key}'
    for split in ('train', 'val')
    for key in ('num_train=16', 'num_val=13')
]


def run(*command, cwd):
    """Run a command outside of the repository; print and return its output."""
    env = {**os.environ, 'OMP_NUM_THREADS': '1'}
    env.pop('PYTHONPATH', None)
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print('$', *command, f'\n{done.stdout}')  # noqa: T201, seen with -s
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The wheel, built from a copy, since a build leaves files behind."""
    source = tmp_path_factory.mktemp('source')
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name,
                source / name,
                symlinks=True,
                ignore=shutil.ignore_patterns('__pycache__', '*.egg-info'),
            )
        else:
            shutil.copy(ROOT / name, source)
    setuptools = importlib.metadata.version('setuptools')
    new_enough = int(setuptools.partition('.')[0]) >= 77
    run(
        *(sys.executable, '-m', 'pip', 'wheel', '--no-deps', '-w', 'dist'),
        *(['--no-build-isolation'] if new_enough else []),
        '.',
        cwd=source,
    )
    (path,) = source.glob('dist/*.whl')
    return path


@pytest.fixture(scope='module')
def ivit(wheel, tmp_path_factory):
    """Run the installed command, or its interpreter, from an empty folder.

    What ivit needs comes from the environment of the tests, by a path in
    which its editable installs do not count.
    """
    home = tmp_path_factory.mktemp('environment')
    folder = tmp_path_factory.mktemp('empty')
    run(sys.executable, '-m', 'venv', home, cwd=folder)
    python = home / 'bin' / 'python'
    run(python, '-m', 'pip', 'install', '--no-deps', wheel, cwd=folder)
    purelib = run(
        *(python, '-c'),
        'import sysconfig; print(sysconfig.get_path("purelib"))',
        cwd=folder,
    )
    dependencies = Path(purelib.strip()) / 'dependencies.pth'
    dependencies.write_text(sysconfig.get_path('purelib') + '\n')

    def command(*args, program='ivit'):
        return run(home / 'bin' / program, *args, cwd=folder)

    command.home, command.folder = home, folder
    return command


@pytest.mark.slow
def test_the_installed_package_is_the_wheels(ivit):
    code = (
        'import ivit, importlib.metadata as metadata\n'
        'print(ivit.__file__, metadata.version("ivit"), ivit.__version__)'
    )
    said = ivit('-c', code, program='python').splitlines()[-1]
    file, installed, own = said.split()
    assert Path(file).is_relative_to(ivit.home)
    assert installed == own
    mim = Path(file).parent / '.mim'
    for name in ('configs', 'tools', 'model-index.yml'):
        path = mim / name
        assert path.exists()
        assert not path.is_symlink()
        files = {file.relative_to(path) for file in path.rglob('*.*')}
        source = ROOT / name
        expected = {file.relative_to(source) for file in source.rglob('*.*')}
        assert {file for file in files if file.suffix != '.pyc'} == {
            file for file in expected if file.suffix != '.pyc'
        }


@pytest.mark.slow
def test_commands(ivit):
    assert 'commands:' in ivit('--help')
    assert ivit('check-env').endswith('ivit is usable here\n')
    said = ivit('flops', 'ivit_t_imagenet')
    assert 'ivit_t_imagenet, one image of 224 x 224' in said
    assert 'total' in said


@pytest.mark.slow
def test_demo(ivit):
    said = ivit('demo', '--cfg-options', *FEW).splitlines()[-1]
    assert said.startswith('demo: box_AP50=')
    assert said.endswith(' report=work_dirs/demo/report.html')
    report = ivit.folder / 'work_dirs' / 'demo' / 'report.html'
    assert report.read_text(encoding='utf-8').endswith('</html>\n')
