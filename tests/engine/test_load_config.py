# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.

import pytest

from ivit.engine import UsageError, load_config

BASE = "_base_ = './base.py'\n"


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """The message about a config, which is read by a relative path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('LOCAL_RANK', '0')

    def load(text, base='a = 1\n', name='mine.py'):
        (tmp_path / 'base.py').write_text(base)
        (tmp_path / name).write_text(text)
        with pytest.raises(UsageError) as caught:
            load_config(name)
        message = str(caught.value)
        assert '\n' not in message
        return message

    return load


@pytest.mark.parametrize(
    ('wrong', 'reason'),
    [
        ('model = dict(', "SyntaxError: '(' was never closed"),
        ('a = nothing', "NameError: name 'nothing' is not defined"),
        ('a = [][1]', 'IndexError: list index out of range'),
        ('f = lambda: {}["x"]\nf()', "KeyError: 'x'"),
    ],
)
def test_file_and_line(refused, tmp_path, wrong, reason):
    text = f'{BASE}b = 1\n{wrong}\n'
    told = refused(text)
    assert told.endswith(f'mine.py:3 cannot be read: {reason}')
    told = refused(BASE, base=f'\n\n\n{wrong}\n')
    assert told == f'{tmp_path}/base.py:4 cannot be read: {reason}'


def test_bases(refused, tmp_path):
    told = refused("_base_ = './gone.py'\n")
    assert told.startswith(f'{tmp_path}/mine.py cannot be read: ')
    assert 'gone.py' in told
    told = refused("_base_ = ['./base.py', './base.py']\n")
    assert "Duplicate keys: {'a'}" in told
    told = refused(BASE + 'a = dict(b=1)\n')
    assert told.startswith(f'{tmp_path}/mine.py cannot be read: TypeError')


def test_other_formats(refused, tmp_path):
    told = refused('{"a": 1,\n "b" 2}', name='mine.json')
    assert told.startswith(f'{tmp_path}/mine.json:2 cannot be read: JSON')
    told = refused('a: [1,\nb: 2\n', name='mine.yaml')
    assert told.startswith(f'{tmp_path}/mine.yaml cannot be read: ')
    assert 'line ' in told


def test_custom_imports(refused, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'needs_more.py').write_text('import no_such_module\n')
    told = refused("custom_imports = dict(imports=['needs_more'])\n")
    assert 'custom_imports of mine.py' in told
    assert 'needs_more' in told
    assert "No module named 'no_such_module'" in told


def test_no_custom_imports(tmp_path):
    """A config of mmpretrain's, say, needs nothing of ours."""
    path = tmp_path / 'theirs.py'
    path.write_text("model = dict(type='ImageClassifier')\n")
    cfg = load_config(path)
    assert cfg.model.type == 'ImageClassifier'


def test_no_workers_is_enough(tmp_path):
    """PyTorch refuses options of workers where there are none."""
    cfg = load_config(
        'mask_rcnn_ivit_n_shapes', {'train_dataloader.num_workers': 0}
    )
    assert 'persistent_workers' not in cfg.train_dataloader
    assert cfg.val_dataloader.persistent_workers


@pytest.mark.parametrize(
    ('key', 'nearest'),
    [
        ('modle.backbone.arch', 'model.backbone.arch'),
        ('train_dataloder.batch_size', 'train_dataloader.batch_size'),
        ('pretraned', 'pretrained'),
        ('loadfrom', 'load_from'),
    ],
)
def test_keys_that_nothing_reads(key, nearest):
    with pytest.raises(UsageError) as caught:
        load_config('mask_rcnn_ivit_n_shapes', {key: 1})
    assert key in str(caught.value)
    assert f'nearest one is {nearest}' in str(caught.value)


@pytest.mark.parametrize('key', ['custom_hooks', 'randomness', 'resume'])
def test_keys_that_mmengine_reads(key):
    assert load_config('mask_rcnn_ivit_n_shapes', {key: None})
