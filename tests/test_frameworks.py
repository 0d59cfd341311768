# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""ivit with every subset of mmdet, mmseg and mmpretrain."""

import importlib.metadata
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.registry import Registry

from ivit import backbones, frameworks
from ivit.datasets import ensure_shapes
from ivit.frameworks import (
    FRAMEWORKS,
    MissingFrameworkError,
    import_or_placeholder,
    is_placeholder,
    pip_command,
    require,
)

SCRIPT = Path(__file__).with_name('use_frameworks.py')
SUBSETS = [
    # All but none with the slow tests: the other tests have all of them.
    pytest.param(subset, marks=pytest.mark.slow if size else ())
    for size in range(len(FRAMEWORKS) + 1)
    for subset in itertools.combinations(FRAMEWORKS, size)
]
DATASETS = {
    'mmdet': 'ShapesDetDataset',
    'mmseg': 'ShapesSegDataset',
    'mmpretrain': 'ShapesClsDataset',
}
OTHER_DATASETS = {
    'mmdet': ['FractalScenesDetDataset'],
    'mmseg': ['FractalScenesSegDataset'],
    'mmpretrain': ['FractalDataset', 'OneFractalDataset'],
}
CONFIGS = {
    'mmdet': 'mask_rcnn_ivit_n_shapes',
    'mmseg': 'upernet_ivit_n_shapes',
    'mmpretrain': 'ivit_n_shapes',
}
NUM_TRAIN = 6


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data') / 'shapes'
    sizes = dict(num_val=3, image_size=64, seed=1)
    return str(ensure_shapes(folder, num_train=NUM_TRAIN, **sizes))


def assert_refused(message, framework):
    assert message.startswith('MissingFrameworkError: ')
    assert f' needs {framework} (' in message
    assert message.endswith(f'not installed: {pip_command(framework)}')


@pytest.mark.parametrize('present', SUBSETS, ids='+'.join)
def test_subset(present, root):
    for framework in present:
        pytest.importorskip(framework)
    absent = [name for name in FRAMEWORKS if name not in present]
    done = subprocess.run(
        [sys.executable, SCRIPT, root, *absent],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])

    assert results['imported'] == []  # rooms that import ivit leaves alone
    for name in backbones.__all__:
        plain = name in ('FLattenDeiT', 'PlainViT')
        sides = [4] if plain else [16, 8, 4, 2]
        assert results['backbones'][name] == [[side, side] for side in sides]
    assert results['created'] == [24, 48, 96, 128]
    exported = {'DrawFractal', 'ensure_fractal_scenes', 'ensure_shapes'}
    for name in present:
        exported |= {DATASETS[name], *OTHER_DATASETS[name]}
    assert set(results['exported']) == exported
    status, output = results['check_env']
    assert status == 0
    for framework, dataset in DATASETS.items():
        samples = results['datasets'][dataset]
        subclass = results['subclasses'][dataset]
        scope = results['configs'][CONFIGS[framework]]
        warning = f'WARNING: {framework} is not installed'
        if framework in present:
            # A scene has one object or more, each a sample of a classifier.
            assert samples == NUM_TRAIN or (
                framework == 'mmpretrain' and samples > NUM_TRAIN
            )
            assert subclass == 'Mine'
            assert scope == framework
            assert warning not in output
        else:
            assert_refused(samples, framework)
            assert_refused(subclass, framework)
            assert_refused(scope, framework)
            assert f'{warning}, so' in output
            assert pip_command(framework) in output
    for room in ('ivit.inference', 'ivit.report'):
        assert results['rooms'][room] == room
    if 'mmdet' in present:
        assert results['peer'] == 'ResNet'
    else:
        assert_refused(results['peer'], 'mmdet')
    if absent:
        assert_refused(results['rooms']['ivit.studies'], absent[0])
    else:
        assert results['rooms']['ivit.studies'] == 'ivit.studies'


def test_placeholder_of_a_broken_framework(tmp_path, monkeypatch):
    (tmp_path / 'broken_part.py').write_text('raise RuntimeError("no\\nluck")')
    monkeypatch.syspath_prepend(tmp_path)
    logged = []
    monkeypatch.setattr(
        'mmengine.logging.print_log', lambda text, **_: logged.append(text)
    )
    registry = Registry('things')
    cls = import_or_placeholder('broken_part', 'Thing', 'mmdet', registry)
    fault = 'mmdet, whose import fails: RuntimeError: no'
    assert logged == [f'ivit goes on without {fault}']
    assert is_placeholder(cls)
    with pytest.raises(MissingFrameworkError, match=f'Thing needs {fault}'):
        registry.build(dict(type='Thing', data_root='x'))


def test_class_that_is_there(monkeypatch):
    registry = Registry('things')
    cls = import_or_placeholder('pathlib', 'Path', 'mmdet', registry)
    assert cls is Path
    assert not is_placeholder(cls)
    assert len(registry) == 0  # the class registers itself


@pytest.mark.parametrize('line', ['onedl', 'upstream'])
def test_command_is_of_the_installed_line(line, monkeypatch):
    def version(name):
        if line == 'onedl':
            raise importlib.metadata.PackageNotFoundError(name)
        assert name == 'mmengine'
        return '0.10.7'

    monkeypatch.setattr(frameworks.importlib.metadata, 'version', version)
    for name, framework in FRAMEWORKS.items():
        command = f'pip install {getattr(framework, line)}'
        assert pip_command(name) == command


def test_require():
    pytest.importorskip('mmdet')
    require('mmdet', 'this test')
