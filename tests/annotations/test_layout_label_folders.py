# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import numpy as np
import pytest
from PIL import Image
from write_layouts import (
    COLORS,
    MAP_CLASSES,
    WRITERS,
    save,
    save_with_palette,
    write_label_folders,
    write_label_folders_flat,
    write_text,
)

from ivit.annotations import IGNORED, file_faults
from ivit.annotations.layouts import fault_kinds, label_folders

read = label_folders.LAYOUT.read


save_image = save


@pytest.fixture
def write_maps(root):
    """A function that writes images and one label map for each array."""

    def write(*maps, names=(), save=save_image):
        for i, array in enumerate(maps):
            image = np.zeros((*array.shape[:2], 3), np.uint8)
            save_image(image, root / 'images' / f'{i:03}.png')
            save(array, root / 'masks' / f'{i:03}.png')
        if names:
            write_text(root / 'classes.txt', *names)
        return root

    return write


def decode(data, number=0):
    return data.encoding.decode(data.splits['train'].pairs[number][1])


def faults_of(data):
    return {fault.kind: fault for fault in data.faults}


def stripes(*values, dtype=np.uint8):
    """A map of 6 rows that has a column for each value."""
    return np.repeat(np.array([values], dtype), 6, axis=0)


@pytest.mark.parametrize(
    'writer', [w for w in WRITERS if w.startswith('label folders')]
)
def test_pixels_are_those_that_were_drawn(root, scenes, writer):
    WRITERS[writer](root, scenes)
    data = read(root)
    assert data.classes == MAP_CLASSES
    assert data.encoding.is_identity
    by_stem = {s.stem: s for split in scenes.values() for s in split}
    for split in data.splits.values():
        for image, path in split.pairs:
            indices, unknown = data.encoding.decode(path)
            assert unknown == []
            np.testing.assert_array_equal(
                indices, by_stem[image.stem].label_map
            )


def test_colours_by_name(root, scenes):
    write_label_folders(root, scenes)
    for path in (root / 'labels').rglob('*.png'):
        numbers = np.asarray(Image.open(path))
        save(np.array(COLORS, np.uint8)[numbers], path)
    with pytest.raises(ValueError, match=r'classes\.txt has no colours'):
        read(root)
    expected = {color: i for i, color in enumerate(COLORS)}
    lines = [
        f'{name} {r} {g} {b}'
        for name, (r, g, b) in zip(MAP_CLASSES, COLORS, strict=True)
    ]
    write_text(root / 'classes.txt', *lines)
    data = read(root)
    assert data.classes == MAP_CLASSES
    assert data.palette == list(COLORS)
    assert expected.items() <= data.encoding.colors.items()
    scene = scenes['train'][1]
    np.testing.assert_array_equal(decode(data, 1)[0], scene.label_map)
    # Without names they are counted, in the order of colours.
    (root / 'classes.txt').unlink()
    data = read(root)
    assert data.classes == ('class 0', 'class 1', 'class 2', 'class 3')
    assert data.palette == sorted(COLORS)
    order = [sorted(COLORS).index(color) for color in COLORS]
    np.testing.assert_array_equal(
        decode(data, 1)[0], np.array(order)[scene.label_map]
    )
    assert any('No file names the classes' in note for note in data.notes)


def test_three_equal_channels_are_numbers(write_maps):
    array = np.repeat(stripes(0, 1, 2, 255)[..., None], 3, axis=2)
    data = read(write_maps(array, names=['a', 'b', 'c']))
    indices, unknown = decode(data)
    assert indices[0].tolist() == [0, 1, 2, IGNORED]
    assert unknown == []
    assert data.classes == ('a', 'b', 'c')


def test_palettes_store_numbers_and_give_colours(write_maps):
    root = write_maps(stripes(0, 1, 2, 3), save=save_with_palette)
    data = read(root)
    assert data.palette == list(COLORS)
    assert decode(data)[0][0].tolist() == [0, 1, 2, 3]


def test_16_bits(write_maps):
    root = write_maps(stripes(0, 7, 1000, dtype=np.uint16))
    data = read(root)
    assert data.classes == ('class 0', 'class 7', 'class 1000')
    assert decode(data)[0][0].tolist() == [0, 1, 2]
    assert not data.encoding.is_identity


@pytest.mark.parametrize(
    ('names', 'classes'),
    [
        ([], ('background', 'foreground')),
        (['road'], ('background', 'road')),
        (['other', 'road'], ('other', 'road')),
    ],
)
def test_0_and_255_are_two_classes(write_maps, names, classes):
    data = read(write_maps(stripes(0, 255, 0), stripes(0), names=names))
    assert data.classes == classes
    assert decode(data)[0][0].tolist() == [0, 1, 0]
    assert any('0 and 255 alone' in note for note in data.notes)


def test_black_and_white_of_one_bit(write_maps):
    root = write_maps(stripes(0, 1))
    path = root / 'masks' / '000.png'
    Image.fromarray(stripes(0, 255)).convert('1').save(path)
    data = read(root)
    assert data.classes == ('class 0', 'class 1')
    assert decode(data)[0][0].tolist() == [0, 1]


@pytest.mark.parametrize('names', [[], ['a', 'b', 'c']])
def test_255_among_others_is_ignored(write_maps, names):
    data = read(write_maps(stripes(0, 1, 255), stripes(2, 1), names=names))
    assert len(data.classes) == 3
    assert decode(data)[0][0].tolist() == [0, 1, IGNORED]
    assert '255 in label maps is ignored.' in data.notes
    assert data.encoding.is_identity


def test_one_name_less_than_values_shifts_them(write_maps):
    data = read(write_maps(stripes(0, 1, 2, 3, 255), names=['a', 'b', 'c']))
    assert data.classes == ('a', 'b', 'c')
    assert decode(data)[0][0].tolist() == [IGNORED, 0, 1, 2, IGNORED]
    assert any('0 in label maps is ignored' in note for note in data.notes)
    assert not data.faults


def test_without_0_there_is_no_shift_but_a_fault(write_maps):
    data = read(write_maps(stripes(1, 2, 3), names=['a', 'b', 'c']))
    (fault,) = data.faults.errors
    assert fault.kind == file_faults.MAP_VALUES
    assert fault.first.endswith('000.png: 3')


def test_numbered_names_are_taken_at_their_word(write_maps):
    root = write_maps(stripes(0, 7, 9, 4), names=['7 traffic light', '9 b'])
    data = read(root)
    assert data.classes == ('traffic light', 'b')
    assert decode(data)[0][0].tolist() == [IGNORED, 0, 1, IGNORED]
    assert decode(data)[1] == [4]
    (fault,) = data.faults.errors
    assert (fault.kind, fault.count) == (file_faults.MAP_VALUES, 1)


@pytest.mark.parametrize(
    'text',
    [
        '["a", "b c"]',
        '{"classes": ["a", "b c"]}',
        '{"0": "a", "1": "b c"}',
        '{"a": 0, "b c": 1}',
        '{"b c": 1, "a": 0}',
        '[{"name": "a", "id": 0}, {"name": "b c", "id": 1}]',
        '{"a": [0, 0, 0], "b c": [9, 8, 7]}',
        '[{"name": "a", "color": "#000000"},'
        ' {"name": "b c", "color": "#090807"}]',
    ],
)
def test_names_in_json(write_maps, text):
    root = write_maps(stripes(0, 1))
    write_text(root / 'classes.json', text)
    data = read(root)
    by_value = {0: 'a', 1: 'b c'}
    indices = decode(data)[0][0]
    assert [data.classes[i] for i in indices] == [by_value[0], by_value[1]]
    if '[9' in text or '#' in text:
        assert data.palette == [(0, 0, 0), (9, 8, 7)]


def test_the_table_of_ade20k(write_maps):
    root = write_maps(stripes(0, 1, 2))
    write_text(
        root / 'objectInfo150.txt',
        'Idx\tRatio\tTrain\tVal\tName',
        '1\t0.1576\t11664\t1172\twall',
        '2\t0.1072\t6046\t612\tbuilding, edifice',
    )
    data = read(root)
    assert data.classes == ('wall', 'building, edifice')
    assert decode(data)[0][0].tolist() == [IGNORED, 0, 1]


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('classes.txt', '\n', 'no names'),
        ('classes.txt', 'a\nb\na\n', "name 'a' twice"),
        ('labels.txt', '0 a\n0 b\n', 'number 0 twice'),
        ('classes.json', '["a"', 'no JSON'),
        ('classes.json', '[1, 2]', 'list of names'),
        ('classes.json', '[{"name": "a", "id": 0}, "b"]', 'some classes'),
        ('classes.txt', '\n'.join(f'c{i}' for i in range(256)), '256 names'),
    ],
)
def test_a_wrong_file_of_names_is_refused(write_maps, name, text, message):
    path = write_text(write_maps(stripes(0, 1)) / name, text)
    with pytest.raises(ValueError, match=message) as error:
        read(path.parent)
    assert str(path) in str(error.value)


def test_names_that_begin_with_numbers_stay_whole(write_maps):
    names = ['1 cent', '2 cent', '5 cent']
    assert read(write_maps(stripes(0, 1, 2), names=names)).classes == (*names,)


def test_endings_and_suffixes_of_names(root):
    image = np.zeros((6, 2, 3), np.uint8)
    for name in (
        'a.jpg',
        'b_leftImg8bit.png',
        'c.jpeg',
        'd.tif',
        'city/e.png',
        'a b ü.webp',
    ):
        save(image, root / 'images' / 'train' / name)
    for name in (
        'a_mask.png',
        'b_gtFine_labelIds.png',
        'b_gtFine_color.png',
        'b_gtFine_labelTrainIds.png',
        'c.png',
        'c_mask.png',
        'd_label.tif',
        'city/e_seg.png',
        'a b ü.png',
    ):
        save(stripes(0, 1), root / 'masks' / 'train' / name)
    data = read(root)
    assert {i.name: m.name for i, m in data.splits['train'].pairs} == {
        'a.jpg': 'a_mask.png',
        'b_leftImg8bit.png': 'b_gtFine_labelTrainIds.png',
        'c.jpeg': 'c.png',
        'd.tif': 'd_label.tif',
        'e.png': 'e_seg.png',
        'a b ü.webp': 'a b ü.png',
    }
    assert not data.faults
    assert any('3 files in train are not used' in n for n in data.notes)


def test_faults(root, scenes):
    write_label_folders(root, scenes)
    maps = root / 'labels' / 'train'
    first, second, third, fourth, fifth, sixth = scenes['train'][:6]
    (maps / f'{first.stem}.png').unlink()
    (root / 'images' / 'train' / f'{second.stem}.jpg').unlink()
    save(stripes(0, 1), maps / f'{third.stem}.png')
    (maps / f'{fourth.stem}.png').write_bytes(b'no image')
    numbers = fifth.label_map.copy()
    numbers[0, :2] = 17, 99
    save(numbers, maps / f'{fifth.stem}.png')
    (maps / f'{sixth.stem}.png').unlink()
    save(sixth.label_map * 0, maps / f'{sixth.stem}.jpg')
    data = read(root)
    faults = faults_of(data)
    assert faults[file_faults.MAP_VALUES].count == 1
    for kind, text in (
        (fault_kinds.MAP_MISSING, f'{first.stem}.jpg'),
        (fault_kinds.MAP_WITHOUT_IMAGE, f'{second.stem}.png'),
        (file_faults.MAP_SIZE, f'{third.stem}.png: 2 x 6 instead of'),
        (file_faults.MAP_UNREADABLE, f'{fourth.stem}.png'),
        (file_faults.MAP_VALUES, f'{fifth.stem}.png: 17'),
        (fault_kinds.MAP_LOSSY, f'{sixth.stem}.jpg'),
    ):
        assert text in faults.pop(kind).first
    assert not faults
    assert len(data.splits['train']) == 5


def test_colours_without_a_class_are_a_fault(write_maps):
    array = np.zeros((4, 4, 3), np.uint8)
    array[0, 0] = 5, 6, 7
    names = ['a 0 0 0', 'b 9 9 9']
    (fault,) = read(write_maps(array, names=names)).faults.errors
    assert fault.kind == file_faults.MAP_VALUES
    assert fault.first.endswith('000.png: (5, 6, 7)')


def test_photographs_are_no_label_maps(write_maps):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 256, (40, 40, 3), np.uint8)
    with pytest.raises(ValueError, match='more than 255') as error:
        read(write_maps(array))
    assert '000.png' in str(error.value)


def test_only_a_sample_is_read_always_the_same(write_maps):
    maps = [stripes(i % 2, 0) for i in range(230)]
    root = write_maps(*maps)
    first, second = read(root), read(root)
    assert first.notes == second.notes
    assert any('200 of 230' in note for note in first.notes)
    assert len(first.splits['train']) == 230
    assert first.classes == ('class 0', 'class 1')


def test_splits_without_label_maps_are_noted(root, scenes):
    members = {'train': scenes['train']}
    write_label_folders(root, members)
    save(scenes['test'][0].image, root / 'images' / 'test' / 'a.jpg')
    save(scenes['test'][0].image, root / 'val' / 'a.jpg')
    data = read(root)
    assert set(data.splits) == {'train'}
    assert 'test has no label maps, and was left out.' in data.notes
    assert any(note.startswith('val has no') for note in data.notes)


def test_nothing_that_fits_is_refused(root, scenes):
    write_label_folders_flat(root, scenes)
    for path in (root / 'Masks').iterdir():
        path.rename(path.with_name(f'other {path.name}'))
    with pytest.raises(ValueError, match='no label map.*Straße 00'):
        read(root)
