# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Faults of image files, and what mmcv makes of the same files."""

import itertools
import time

import mmcv
import numpy as np
import pytest
from PIL import Image

from ivit.annotations import Faults, file_faults
from ivit.annotations.checks import check_images, images, sweep
from ivit.annotations.image_files import read_head

SIZE = (60, 40)


def noise(channels=3, dtype=np.uint8):
    shape = (SIZE[1], SIZE[0], channels)[: 2 + (channels > 1)]
    top = 1 if dtype is np.float32 else np.iinfo(dtype).max
    pixels = np.random.default_rng(0).random(shape) * top
    return pixels.astype(dtype)


def write(path, orientation=None, mode='RGB'):
    image = Image.fromarray(noise()).convert(mode)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    image.save(path, exif=exif)
    return path


def find(sizes):
    """The faults by kind."""
    faults = Faults()
    if not isinstance(sizes, dict):
        sizes = {sizes: None}
    seen = check_images(sizes, faults)
    assert seen.is_all
    return {fault.kind: fault for fault in faults}


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'bmp', 'tif', 'webp'])
def test_clean_file(suffix, tmp_path):
    assert find({write(tmp_path / f'a.{suffix}'): SIZE}) == {}


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'bmp', 'tif', 'webp'])
@pytest.mark.parametrize('share', [0.5, 0.95])
def test_cut_off(suffix, share, tmp_path):
    path = write(tmp_path / f'a.{suffix}')
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    (fault,) = find(path).values()
    # Without its end the head of some formats cannot be read.
    assert fault.kind in (images.CUT_OFF, file_faults.IMAGE_UNREADABLE)
    assert suffix not in ('jpg', 'png') or fault.kind is images.CUT_OFF
    assert str(path) in fault.first


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
@pytest.mark.parametrize('length', [3, 100_000])
def test_bytes_behind_the_end(suffix, length, tmp_path):
    path = write(tmp_path / f'a.{suffix}')
    path.write_bytes(path.read_bytes() + bytes(length))
    assert find(path) == {}


@pytest.mark.parametrize('content', [b'', b'no image', b'\xff\xd8\xff\xe0'])
def test_unreadable(content, tmp_path):
    path = tmp_path / 'a.jpg'
    path.write_bytes(content)
    (fault,) = find(path).values()
    assert fault.kind is file_faults.IMAGE_UNREADABLE
    assert fault.first.startswith(str(path))


def test_missing(tmp_path):
    here = write(tmp_path / 'a.jpg')
    other_case = write(tmp_path / 'B.JPG').with_name('b.jpg')
    no_folder = tmp_path / 'none' / 'c.jpg'
    (tmp_path / 'folder.jpg').mkdir()
    paths = [here, other_case, no_folder, tmp_path / 'folder.jpg']
    (fault,) = find(dict.fromkeys(map(str, paths))).values()
    assert fault.kind is file_faults.IMAGE_MISSING
    assert fault.count == 3
    assert fault.first == f'{other_case} (there is B.JPG)'


def test_existence_is_not_asked_file_by_file(tmp_path, monkeypatch):
    paths = [write(tmp_path / f'{i}.png') for i in range(5)]
    listed = []
    scandir = images.os.scandir

    def scan(folder):
        listed.append(folder)
        return scandir(folder)

    monkeypatch.setattr(images.os, 'scandir', scan)
    assert find(dict.fromkeys(map(str, paths))) == {}
    assert listed == [str(tmp_path)]


def test_size(tmp_path):
    path = write(tmp_path / 'a.jpg')
    (fault,) = find({path: (80, 40)}).values()
    assert fault.kind is images.WRONG_SIZE
    assert fault.first == f'{path}: 60 x 40, annotated as 80 x 40'


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'tif', 'webp'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_turned_size_is_the_loaders(suffix, orientation, tmp_path):
    path = write(tmp_path / f'a.{suffix}', orientation)
    head = read_head(path)
    height, width = mmcv.imread(path).shape[:2]
    assert head.turned_size == (width, height)
    flag = 'color_ignore_orientation'
    height, width = mmcv.imread(path, flag=flag).shape[:2]
    assert head.size == (width, height)


@pytest.mark.parametrize(
    ('orientation', 'annotated', 'kind'),
    [
        (1, (60, 40), None),
        (6, (60, 40), images.EXIF_TURNED),
        (8, (60, 40), images.EXIF_TURNED),
        (6, (40, 60), None),
        (6, (50, 50), images.WRONG_SIZE),
        (3, (60, 40), images.EXIF_UNCLEAR),
        (6, None, None),
        (99, (60, 40), None),
    ],
)
def test_orientation(orientation, annotated, kind, tmp_path):
    path = write(tmp_path / 'a.jpg', orientation)
    found = find({path: annotated})
    assert list(found) == ([kind] if kind else [])
    if kind in (images.EXIF_TURNED, images.EXIF_UNCLEAR):
        assert "color_type='color_ignore_orientation'" in kind.remedy
        assert f'EXIF orientation {orientation}' in found[kind].first


@pytest.mark.parametrize(
    ('mode', 'kinds'),
    [
        ('L', {images.GREY}),
        ('1', {images.GREY}),
        ('LA', {images.GREY, images.ALPHA}),
        ('P', {images.PALETTE}),
        ('RGBA', {images.ALPHA}),
    ],
)
def test_modes(mode, kinds, tmp_path):
    assert find(write(tmp_path / 'a.png', mode=mode)).keys() == kinds
    assert all(kind.level == 'warning' for kind in kinds)


def test_cmyk(tmp_path):
    assert list(find(write(tmp_path / 'a.jpg', mode='CMYK'))) == [images.CMYK]


@pytest.mark.parametrize(
    ('name', 'channels', 'dtype'),
    [
        ('a.png', 1, np.uint16),
        ('a.png', 3, np.uint16),
        ('a.tif', 1, np.uint16),
        ('a.tif', 3, np.uint16),
        ('a.tif', 1, np.float32),
        ('a.tif', 3, np.float32),
    ],
)
def test_deep(name, channels, dtype, tmp_path):
    path = tmp_path / name
    mmcv.imwrite(noise(channels, dtype), str(path))
    found = find({path: SIZE})
    assert images.DEEP in found
    assert found.keys() <= {images.DEEP, images.GREY}
    assert "color_type='unchanged'" in images.DEEP.remedy


def test_budget(tmp_path, monkeypatch):
    paths = [write(tmp_path / f'{i}.png') for i in range(20)]
    paths[4].unlink()
    clock = itertools.count()
    monkeypatch.setattr(sweep.time, 'monotonic', lambda: next(clock))
    monkeypatch.setattr(sweep, 'WORKERS', 1)
    faults = Faults()
    seen = check_images(dict.fromkeys(map(str, paths)), faults, seconds=5.5)
    # The clock goes on by a second each time it is looked at.
    assert seen == (5, 19)
    assert not seen.is_all
    assert str(seen) == '5 of 19'
    assert [fault.kind for fault in faults] == [file_faults.IMAGE_MISSING]


def test_sample_is_always_the_same():
    def looked_at(seconds):
        order = []
        sweep.sweep(range(50), order.append, seconds)
        return order

    one, other = sorted(looked_at(60)), sorted(looked_at(60))
    assert one == other == list(range(50))
    assert looked_at(0) == []


def test_results_are_in_order_and_errors_are_raised():
    def look(item):
        time.sleep(0.002 * (item % 3))
        return 2 * item

    assert list(sweep.sweep(range(20), look).items()) == [
        (item, 2 * item) for item in range(20)
    ]
    with pytest.raises(ZeroDivisionError):
        sweep.sweep([1, 0], lambda item: 1 / item)
