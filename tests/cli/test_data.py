# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The command ``ivit data``."""

import json

import pytest
from PIL import Image

from ivit import cli


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """COCO's files with four clean images."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / 'my photos'
    for shade, split in ((90, 'train'), (120, 'val')):
        (root / split).mkdir(parents=True)
        for i in range(2):
            Image.new('RGB', (40, 30), (shade, 90, 90 + i)).save(
                root / split / f'{split}{i}.jpg'
            )
    write(root, 'val')
    write(root, 'train')
    return root


def write(root, split, **changes):
    coco = dict(
        images=[
            dict(id=i, file_name=f'{split}{i}.jpg', width=40, height=30)
            for i in range(2)
        ],
        annotations=[
            dict(
                id=i,
                image_id=i,
                category_id=1,
                bbox=[5, 5, 20, 10],
                area=200,
                iscrowd=0,
            )
            | changes
            for i in range(2)
        ],
        categories=[dict(id=1, name='screw')],
    )
    path = root / 'annotations' / f'instances_{split}.json'
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(coco))
    return path


def run(capsys, *args):
    """The exit status, and what was said on stdout and stderr."""
    status = 0
    try:
        cli.main(['data', *map(str, args)])
    except SystemExit as error:
        status = error.code
    said = capsys.readouterr()
    return status, said.out, said.err


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob('*')}


def test_clean(folder, capsys, tmp_path):
    before = files(folder)
    status, said, _ = run(capsys, folder)
    assert status == 0
    assert 'images: 2 for train, 2 for val' in said
    assert '1 classes: screw' in said
    assert said.endswith(
        'errors: 0, warnings: 0\npage: work_dirs/data/my photos.html\n'
    )
    page = tmp_path / 'work_dirs' / 'data' / 'my photos.html'
    assert page.read_text('utf-8').count('aria-label="objects in ') == 4
    assert files(folder) == before


def test_errors(folder, capsys):
    write(folder, 'train', category_id=3)
    status, said, _ = run(capsys, folder, '--out', 'look/page.html')
    assert status == 1
    words = ' '.join(said.replace('│', ' ').split())
    assert 'error annotation is of a category that is not there 2 ' in words
    assert 'level what times first place remedy' in words.replace('┃ ', '')
    assert 'errors: 1, warnings: ' in said
    assert said.endswith('page: look/page.html\n')


def test_warnings_alone(folder, capsys):
    write(folder, 'train', bbox=[5, 5, 20, 0])
    status, said, _ = run(capsys, folder)
    assert status == 0
    assert 'errors: 0, warnings: 1' in said
    (row,) = (line for line in said.splitlines() if ' warning ' in line)
    level, what, times, place, remedy = (
        cell.strip() for cell in row.strip('│').split('│')
    )
    assert (level, times) == ('warning', '2')
    assert what.startswith('box is less than a pixel')
    assert remedy


def test_brackets_in_a_path_are_shown(folder, capsys):
    other = folder.rename(folder.with_name('a [bold] b'))
    (other / 'train' / 'train0.jpg').unlink()
    status, said, _ = run(capsys, other)
    assert status == 1
    assert '[bold]' in said.replace('│', '').replace('\n', '')
    assert said.endswith('page: work_dirs/data/a [bold] b.html\n')


def test_files_that_lie_anywhere(folder, capsys):
    status, said, _ = run(
        capsys,
        *('--train-ann', folder / 'annotations' / 'instances_train.json'),
        *('--train-images', folder / 'train'),
    )
    assert status == 0
    assert 'images: 2 for train\n' in said
    assert said.endswith('page: work_dirs/data/instances_train.html\n')


@pytest.mark.parametrize(
    ('args', 'said'),
    [
        ([], '--train-ann and --train-images'),
        (['--train-ann', 'a.json'], '--train-ann and --train-images'),
        (['none'], 'There is no folder '),
        (['my photos', '--out', 'a.jpg'], '--out a.jpg: the page is HTML'),
        (['my photos', '--train-ann', 'a.json'], 'my photos'),
        (['my photos', '--task', 'segmentation'], 'which is for detection'),
    ],
)
def test_what_a_user_gets_wrong(folder, capsys, args, said):
    status, out, err = run(capsys, *args)
    assert status == 1
    assert err.startswith('error: ')
    assert said in err
    assert out == ''
    assert not (folder.parent / 'work_dirs').exists()


def test_a_task_that_there_is_none_of(folder, capsys):
    status, _, err = run(capsys, folder, '--task', 'dancing')
    assert status == 2
    assert 'dancing' in err
