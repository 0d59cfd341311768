# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import numpy as np
import pytest
from PIL import Image

from ivit.annotations import (
    IGNORED,
    AnnotatedData,
    LabelEncoding,
    SegmentationSplit,
    file_faults,
)
from ivit.annotations.checks import (
    EXIF_TURNED,
    check,
    check_segmentation,
    segmentation,
)
from ivit.annotations.label_maps import read_stored

CLASSES = ('road', 'grass')
NUMBERS = LabelEncoding({0: 0, 1: 1, 255: IGNORED})
COLORS = LabelEncoding(colors={(0, 0, 0): 0, (255, 0, 0): 1})


@pytest.fixture
def data(tmp_path):
    """Four clean images with label maps, of 12 x 8."""
    pairs = []
    for number in range(4):
        image, label_map = (
            tmp_path / f'{number}{s}' for s in ('.jpg', '.png')
        )
        Image.new('RGB', (12, 8)).save(image)
        indices = np.zeros((8, 12), np.uint8)
        indices[:, 6:] = 1
        indices[0] = 255
        Image.fromarray(indices).save(label_map)
        pairs.append((image, label_map))
    splits = {'train': SegmentationSplit(tmp_path, pairs)}
    return AnnotatedData(
        tmp_path, 'maps', 'segmentation', CLASSES, splits, encoding=NUMBERS
    )


def find(data):
    seen = check_segmentation(data)
    assert seen.is_all
    return {fault.kind: fault for fault in data.faults}


def replace(data, pixels, row=2):
    path = data.splits['train'].pairs[row][1]
    Image.fromarray(pixels).save(path)
    return path


def test_clean(data):
    check(data, quick=False)
    assert len(data.faults) == 0
    assert data.notes == []


def test_missing(data):
    image, label_map = data.splits['train'].pairs[1]
    label_map.unlink()
    (fault,) = find(data).values()
    assert fault.kind is segmentation.MISSING
    assert fault.first == f'{image}: {label_map} is missing'


@pytest.mark.parametrize('content', [b'', b'no image', None])
def test_unreadable(data, content):
    path = data.splits['train'].pairs[1][1]
    path.write_bytes(path.read_bytes()[:50] if content is None else content)
    (fault,) = find(data).values()
    assert fault.kind is file_faults.MAP_UNREADABLE
    assert str(path) in fault.first


def test_colors_instead_of_numbers(data):
    path = replace(data, np.zeros((8, 12, 3), np.uint8))
    (fault,) = find(data).values()
    assert fault.kind is segmentation.COLORS
    assert f'{path} has 3 channels' in fault.first


def test_fractions(data):
    label_map = data.splits['train'].pairs[2][1].with_suffix('.tif')
    Image.fromarray(np.zeros((8, 12), np.float32)).save(label_map)
    split = data.splits['train']
    split.pairs[2] = (split.pairs[2][0], label_map)
    assert list(find(data)) == [file_faults.MAP_FRACTIONS]


def test_size(data):
    path = replace(data, np.ones((9, 12), np.uint8))
    (fault,) = find(data).values()
    assert fault.kind is file_faults.MAP_SIZE
    assert str(path) in fault.first
    assert '12 x 8, annotated as 12 x 9' in fault.first


@pytest.mark.parametrize('turned', [False, True])
def test_image_with_an_orientation(data, turned):
    image = data.splits['train'].pairs[2][0]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (12, 8)).save(image, exif=exif)
    if turned:
        replace(data, np.ones((12, 8), np.uint8))
    assert list(find(data)) == ([] if turned else [EXIF_TURNED])


def test_unknown_numbers(data):
    pixels = np.zeros((8, 12), np.uint8)
    pixels[0] = [7, 8, 9, 200] * 3
    path = replace(data, pixels)
    (fault,) = find(data).values()
    assert fault.kind is file_faults.MAP_VALUES
    assert fault.first == f'{path} has 7..9, 200; expected 0..1, 255'


def test_unknown_colors(data):
    data.encoding = COLORS
    for row in range(4):
        pixels = np.zeros((8, 12, 3), np.uint8)
        pixels[2, :, 0] = 255
        pixels[row == 3, 0] = (1, 2, 3) if row == 3 else 0
        replace(data, pixels, row)
    (fault,) = find(data).values()
    assert fault.kind is file_faults.MAP_VALUES
    assert '(1, 2, 3); expected (0, 0, 0), (255, 0, 0)' in fault.first


def test_only_ignored(data):
    path = replace(data, np.full((8, 12), 255, np.uint8))
    (fault,) = find(data).values()
    assert fault.kind is segmentation.ONLY_IGNORED
    assert fault.first == str(path)


def test_class_that_does_not_occur(data):
    data.classes = (*CLASSES, 'sky')
    (fault,) = find(data).values()
    assert fault.kind is segmentation.UNUSED_CLASS
    assert fault.first.endswith("train: 'sky'")


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.int32])
@pytest.mark.parametrize('encoding', [NUMBERS, LabelEncoding({3: 1, 5: 1})])
def test_counts_are_those_of_decoding(dtype, encoding, tmp_path):
    stored = np.random.default_rng(0).integers(0, 7, (30, 40)).astype(dtype)
    path = tmp_path / 'a.tif'
    Image.fromarray(stored).save(path)
    indices, unknown = encoding.decode(path)
    pixels, found = segmentation.count_classes(
        read_stored(path, False), encoding
    )
    assert found == unknown
    known = np.isin(stored, list(encoding.values))
    for index in set(encoding.values.values()) - {IGNORED}:
        assert pixels.get(index, 0) == (indices[known] == index).sum()


def test_a_sample_says_how_large_it_is(data, monkeypatch):
    data.classes = (*CLASSES, 'sky')
    monkeypatch.setattr('ivit.annotations.checks.QUICK_SECONDS', 0)
    check(data, quick=True)
    assert '0 of 4 label maps were checked.' in data.notes
    assert '0 of 4 image files were opened to check them.' in data.notes
    # Of classes nothing is said without having seen all.
    assert len(data.faults) == 0
