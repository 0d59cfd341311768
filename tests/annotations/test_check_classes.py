# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Faults of class folders, and of images in two splits."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ivit.annotations import AnnotatedData, ClassificationSplit
from ivit.annotations.checks import (
    IN_TWO_SPLITS,
    check,
    class_names,
    classification,
    copies,
)

CLASSES = ('cat', 'dog')


def draw(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def data(tmp_path):
    splits = {}
    seed = 0
    for name in ('train', 'val'):
        samples = []
        for i in range(4):
            seed += 1
            path = tmp_path / name / CLASSES[i % 2] / f'{i}.bmp'
            samples.append((draw(path, seed), i % 2))
        splits[name] = ClassificationSplit(tmp_path / name, samples)
    return AnnotatedData(
        tmp_path, 'class folders', 'classification', CLASSES, splits
    )


def find(data, quick=False):
    check(data, quick=quick)
    return {fault.kind: fault for fault in data.faults}


@pytest.mark.parametrize('quick', [False, True])
def test_clean(data, quick):
    assert find(data, quick) == {}


def test_class_without_images(data):
    (fault,) = find(replace(data, classes=(*CLASSES, 'cow'))).values()
    assert fault.kind is classification.NO_IMAGES
    assert fault.count == 2
    assert fault.first.endswith("train: 'cow'")


def test_same_image_in_two_classes(data):
    (cat, _), (dog, _), *_ = data.splits['train'].samples
    dog.write_bytes(cat.read_bytes())
    (fault,) = find(data).values()
    assert fault.kind is copies.TWO_CLASSES
    assert fault.first == f'{cat} and {dog}'


def test_same_image_in_two_splits(data):
    cat, _ = data.splits['train'].samples[0]
    other, _ = data.splits['val'].samples[0]
    other.write_bytes(cat.read_bytes())
    (fault,) = find(data).values()
    assert fault.kind is copies.TWO_SPLITS


def test_same_image_twice_in_a_class(data):
    one, other = (data.splits['train'].samples[i][0] for i in (0, 2))
    other.write_bytes(one.read_bytes())
    assert find(data) == {}


def test_contents_are_left_to_the_whole_check(data):
    (cat, _), (dog, _), *_ = data.splits['train'].samples
    dog.write_bytes(cat.read_bytes())
    assert find(data, quick=True) == {}


def test_same_file_in_two_splits(data):
    data.splits['val'].samples.append(data.splits['train'].samples[0])
    (fault,) = find(data, quick=True).values()
    assert fault.kind is IN_TWO_SPLITS
    assert fault.first.endswith('0.bmp, also in val')


def test_orientation_of_a_photo_is_no_fault(data):
    path, _ = data.splits['train'].samples[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (8, 6)).save(path.with_suffix('.jpg'), exif=exif)
    data.splits['train'].samples[0] = (path.with_suffix('.jpg'), 0)
    assert find(data) == {}


@pytest.mark.parametrize(
    ('names', 'alike'),
    [
        (('Triangle', 'triangle', 'red disc'), "'Triangle', 'triangle'"),
        (('red  disc', 'red disc', 'cat'), "'red  disc', 'red disc'"),
        (('red_disc', 'Red-Disc', 'cat'), "'red_disc', 'Red-Disc'"),
        (('c', 'C++', 'c'), "'c', 'C++'"),
        (('+', '-', 'cat'), None),
        (('квадрат', 'круг', 'cat'), None),
    ],
)
def test_names_that_are_alike(data, names, alike):
    data = replace(data, classes=names)
    class_names.check_class_names(data)
    found = [f.first for f in data.faults if f.kind is class_names.ALIKE]
    if alike is None:
        assert found == []
    else:
        (place,) = found
        assert place.endswith(f': {alike}')
