# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import hashlib
import json
import multiprocessing
import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from ivit.datasets import ensure_shapes, made_once, scene_files, shapes
from ivit.datasets.scenes import Scene
from ivit.datasets.shape_scenes import CLASSES

TINY = dict(num_train=6, num_val=3, image_size=64, seed=1)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return ensure_shapes(tmp_path_factory.mktemp('data') / 'shapes', **TINY)


def digest(folder):
    files = sorted(p for p in folder.rglob('*') if p.is_file())
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(
            p.read_bytes()
        ).hexdigest()
        for p in files
    }


def test_same_settings_same_bytes(root, tmp_path):
    assert digest(ensure_shapes(tmp_path / 'b', **TINY)) == digest(root)


def test_several_processes_draw_the_same_bytes(root, tmp_path, monkeypatch):
    monkeypatch.setattr(made_once, '_LEAST_IN_PARALLEL', 1)
    assert made_once.count_workers(TINY['num_val']) == os.cpu_count()
    state = torch.get_rng_state()
    assert digest(ensure_shapes(tmp_path / 'b', **TINY)) == digest(root)
    assert torch.equal(torch.get_rng_state(), state)


def test_more_images_leave_the_first_ones_as_they_are(root, tmp_path):
    more = ensure_shapes(tmp_path / 'b', **{**TINY, 'num_train': 8})
    small, large = digest(root), digest(more)
    images = [p for p in small if p.startswith(('images', 'labels'))]
    assert len(images) == 18
    assert all(small[p] == large[p] for p in images)


def test_layout(root):
    marker = json.loads((root / 'shapes.json').read_text())
    assert marker['settings'] == TINY
    assert marker['files']['images/train'] == 6
    assert set(marker['versions']) == {'numpy', 'scikit-image', 'Pillow'}
    for split, number in (('train', 6), ('val', 3)):
        names = [f'{i:06d}' for i in range(1, number + 1)]
        for folder, suffix in (('images', '.jpg'), ('labels', '.png')):
            found = sorted(os.listdir(root / folder / split))
            assert found == [name + suffix for name in names]
        folders = sorted(os.listdir(root / 'classes' / split))
        assert folders == list(CLASSES)


def test_annotations_agree_with_the_label_maps(root):
    for split in ('train', 'val'):
        path = root / 'annotations' / f'instances_{split}.json'
        coco = json.loads(path.read_text())
        assert [c['name'] for c in coco['categories']] == list(CLASSES)
        assert min(a['id'] for a in coco['annotations']) > 0
        union = {
            image['id']: np.zeros((image['height'], image['width']), int)
            for image in coco['images']
        }
        for annotation in coco['annotations']:
            mask = coco_mask.decode(annotation['segmentation'])
            ys, xs = np.nonzero(mask)
            x, y, w, h = annotation['bbox']
            assert mask.shape == (64, 64)
            assert annotation['area'] == mask.sum() > 0
            assert annotation['iscrowd'] == 0
            assert (x, y) == (xs.min(), ys.min())
            assert (x + w, y + h) == (xs.max() + 1, ys.max() + 1)
            union[annotation['image_id']] += mask * annotation['category_id']
        for image in coco['images']:
            name = image['file_name'].replace('.jpg', '.png')
            label_map = np.asarray(Image.open(root / 'labels' / split / name))
            assert (label_map == union[image['id']]).all()


def test_one_crop_per_object_in_the_folder_of_its_class(root):
    path = root / 'annotations' / 'instances_train.json'
    annotations = json.loads(path.read_text())['annotations']
    for i, name in enumerate(CLASSES, 1):
        crops = sorted((root / 'classes' / 'train' / name).iterdir())
        wanted = [a['image_id'] for a in annotations if a['category_id'] == i]
        assert [int(crop.name[:6]) for crop in crops] == sorted(wanted)
        assert all(Image.open(crop).size == (32, 32) for crop in crops)


def test_the_object_is_in_the_middle_of_its_crop(tmp_path):
    """A white square on black, near the border, comes out centred."""
    mask = np.zeros((1, 64, 64), bool)
    mask[0, 40:60, 2:22] = True
    image = np.repeat(mask[0, ..., None], 3, 2) * np.uint8(255)
    (tmp_path / 'classes' / 'val' / 'square').mkdir(parents=True)
    scene = Scene(image, [CLASSES.index('square')], mask)
    folder = tmp_path / 'classes' / 'val'
    scene_files._write_crops(folder, CLASSES, 7, scene)
    path = tmp_path / 'classes' / 'val' / 'square' / '000007_0.jpg'
    white = np.asarray(Image.open(path)).mean(-1) > 128
    assert white[16, 16]
    side = 32 / 1.3
    assert abs(white[16].sum() - side) <= 2
    assert abs(white[:, 16].sum() - side) <= 2
    assert not white[:3].any()


def test_an_existing_data_set_is_not_touched(root):
    before = {p: p.stat().st_mtime_ns for p in root.rglob('*')}
    assert ensure_shapes(root, **TINY) == root
    assert {p: p.stat().st_mtime_ns for p in root.rglob('*')} == before


def test_the_folder_is_open_to_others(tmp_path):
    mask = os.umask(0o022)
    try:
        made = ensure_shapes(tmp_path / 'shapes', **TINY)
    finally:
        os.umask(mask)
    assert made.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    'files',
    [
        {},
        {'mine.txt': 'my work'},
        {'shapes.json': 'my work'},
        {'shapes.json': '[]'},
        {'shapes.json': '{"circle": 1}'},
    ],
)
def test_a_foreign_folder_is_an_error_and_stays(tmp_path, files):
    folder = tmp_path / 'shapes'
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(ValueError, match='not a shapes data set.*data_root'):
        ensure_shapes(folder, **TINY)
    assert {p.name: p.read_text() for p in folder.iterdir()} == files


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / 'shapes').write_text('my work')
    with pytest.raises(ValueError, match='not a shapes data set'):
        ensure_shapes(tmp_path / 'shapes', **TINY)
    assert (tmp_path / 'shapes').read_text() == 'my work'


@pytest.mark.parametrize(
    ('name', 'value'),
    [('num_train', 7), ('num_val', 4), ('image_size', 96), ('seed', 2)],
)
def test_other_settings_are_an_error(root, name, value):
    before = digest(root)
    message = f'{name} {TINY[name]} instead of {value}'
    with pytest.raises(ValueError, match=message):
        ensure_shapes(root, **{**TINY, name: value})
    assert digest(root) == before


def test_another_format_is_an_error(root, monkeypatch):
    monkeypatch.setattr(shapes, 'FORMAT', 99)
    with pytest.raises(ValueError, match='format 1 instead of 99'):
        ensure_shapes(root, **TINY)


@pytest.mark.parametrize(
    'lost', ['images/val/000002.jpg', 'annotations/instances_train.json']
)
def test_a_folder_half_there_is_an_error(tmp_path, lost):
    made = ensure_shapes(tmp_path / 'shapes', **TINY)
    (made / lost).unlink()
    folder = lost.rpartition('/')[0]
    with pytest.raises(ValueError, match=f'lacks files: 1 of . in {folder}'):
        ensure_shapes(made, **TINY)
    assert not (made / lost).exists()


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('num_train', 0),
        ('num_val', -1),
        ('image_size', 31),
        ('seed', -1),
        ('num_train', 1.5),
        ('seed', None),
    ],
)
def test_settings_out_of_range(tmp_path, name, value):
    with pytest.raises(ValueError, match=f'{name}={value}'):
        ensure_shapes(tmp_path / 'shapes', **{**TINY, name: value})
    assert os.listdir(tmp_path) == []


def test_an_interrupted_run_leaves_nothing_behind(tmp_path, monkeypatch):
    draw = shapes.draw_scene

    def interrupt(seed, split, index, image_size):
        if index == 4:
            raise KeyboardInterrupt
        return draw(seed, split, index, image_size)

    with monkeypatch.context() as patch:
        patch.setattr(shapes, 'draw_scene', interrupt)
        with pytest.raises(KeyboardInterrupt):
            ensure_shapes(tmp_path / 'shapes', **TINY)
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == []
    assert ensure_shapes(tmp_path / 'shapes', **TINY).is_dir()


def test_leftovers_of_a_killed_run_do_no_harm(root, tmp_path):
    leftover = tmp_path / '.shapes.0123'
    (leftover / 'images').mkdir(parents=True)
    (tmp_path / '.shapes.lock').touch()
    made = ensure_shapes(tmp_path / 'shapes', **TINY)
    assert digest(made) == digest(root)
    assert leftover.is_dir()


def _race(folder, barrier, results):
    """What a process of a distributed run does; reports how often it built."""
    builds = []
    write = scene_files._write_files

    def count(*args):
        builds.append(1)
        write(*args)

    scene_files._write_files = count
    barrier.wait()
    ensure_shapes(folder, **TINY)
    results.put(len(builds))


@pytest.mark.skipif(sys.platform == 'win32', reason='needs fork')
@pytest.mark.parametrize('locks', [True, False])
def test_processes_that_start_at_once(root, tmp_path, monkeypatch, locks):
    import fcntl

    def no_locks(file, operation):
        raise OSError('no locks available')

    if not locks:
        monkeypatch.setattr(fcntl, 'flock', no_locks)
    context = multiprocessing.get_context('fork')
    barrier, results = context.Barrier(3), context.Queue()
    processes = [
        context.Process(
            target=_race, args=(tmp_path / 'shapes', barrier, results)
        )
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    builds = sum(results.get(timeout=5) for _ in processes)
    assert builds == 1 if locks else 1 <= builds <= 3
    assert digest(tmp_path / 'shapes') == digest(root)
    assert {p.name for p in tmp_path.iterdir()} == {'shapes', '.shapes.lock'}


def test_the_loser_of_the_rename_takes_the_winners_folder(
    root, tmp_path, monkeypatch
):
    write = scene_files._write_files

    def overtaken(build, *args):
        write(build, *args)
        write(tmp_path / 'other', *args)
        (tmp_path / 'other').rename(tmp_path / 'shapes')

    (tmp_path / 'other').mkdir()
    monkeypatch.setattr(scene_files, '_write_files', overtaken)
    made = ensure_shapes(tmp_path / 'shapes', **TINY)
    assert digest(made) == digest(root)
    assert {p.name for p in tmp_path.iterdir()} == {'shapes', '.shapes.lock'}
