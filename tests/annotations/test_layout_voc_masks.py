# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import shutil

import numpy as np
import pytest
from write_layouts import (
    COLORS,
    MAP_CLASSES,
    VOID_COLOR,
    save,
    save_with_palette,
    write_text,
    write_voc_masks,
    write_voc_masks_palette,
)

from ivit.annotations import IGNORED, file_faults
from ivit.annotations.layouts import fault_kinds, voc


def check_maps(data, scenes):
    for split, members in scenes.items():
        pairs = data.splits[split].pairs
        assert len(pairs) == len(members)
        for (image, path), scene in zip(pairs, members, strict=True):
            assert image.stem == scene.stem
            indices, unknown = data.encoding.decode(path)
            assert unknown == []
            np.testing.assert_array_equal(indices, scene.label_map)


def faults_of(data):
    return {fault.kind: fault for fault in data.faults}


@pytest.mark.parametrize('write', [write_voc_masks, write_voc_masks_palette])
def test_pixels_are_those_that_were_drawn(root, scenes, write):
    write(root, scenes)
    data = voc.MASKS.read(root)
    assert data.classes == MAP_CLASSES
    assert data.palette == list(COLORS)
    assert data.encoding.is_identity == (write is write_voc_masks_palette)
    check_maps(data, scenes)


def test_what_is_void_is_ignored(root, scenes):
    write_voc_masks(root, scenes)
    scene = scenes['train'][0]
    colored = np.array(COLORS, np.uint8)[scene.label_map]
    colored[:3] = VOID_COLOR
    path = save(colored, root / 'SegmentationClass' / f'{scene.stem}.png')
    data = voc.MASKS.read(root)
    assert (data.encoding.decode(path)[0][:3] == IGNORED).all()
    assert not data.faults
    assert any('(224, 224, 192)' in note for note in data.notes)
    write_voc_masks_palette(root, scenes)
    numbers = scene.label_map.copy()
    numbers[:3] = 255
    save_with_palette(numbers, path)
    data = voc.MASKS.read(root)
    assert (data.encoding.decode(path)[0][:3] == IGNORED).all()
    assert not data.faults
    assert any(note.startswith('255') for note in data.notes)


@pytest.mark.parametrize('colored', [False, True])
def test_without_names_they_are_those_of_voc(root, scenes, colored):
    write_voc_masks_palette(root, scenes)
    (root / 'labelmap.txt').unlink()
    if colored:  # VOC's colours of 0, 1, 2 and 3
        palette = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]
        for split in scenes.values():
            for scene in split:
                path = root / 'SegmentationClass' / f'{scene.stem}.png'
                save(np.array(palette, np.uint8)[scene.label_map], path)
    data = voc.MASKS.read(root)
    assert len(data.classes) == 21
    assert data.classes[:4] == ('background', 'aeroplane', 'bicycle', 'bird')
    assert data.classes[20] == 'tvmonitor'
    assert data.palette[20] == (0, 64, 128)
    check_maps(data, scenes)


def test_names_and_colours_of_mmseg_are_the_same(root, scenes):
    pytest.importorskip('mmseg')
    from mmseg.datasets import PascalVOCDataset

    write_voc_masks_palette(root, scenes)
    (root / 'labelmap.txt').unlink()
    data = voc.MASKS.read(root)
    assert data.classes == PascalVOCDataset.METAINFO['classes']
    theirs = [tuple(color) for color in PascalVOCDataset.METAINFO['palette']]
    assert data.palette == theirs


def test_faults(root, scenes):
    write_voc_masks(root, scenes)
    first, second, third, fourth, fifth = scenes['train'][:5]
    maps = root / 'SegmentationClass'
    (maps / f'{first.stem}.png').unlink()
    (root / 'JPEGImages' / f'{second.stem}.jpg').unlink()
    (maps / f'{third.stem}.png').write_bytes(b'no image')
    save(np.zeros((5, 9, 3), np.uint8), maps / f'{fourth.stem}.png')
    colored = np.array(COLORS, np.uint8)[fifth.label_map]
    colored[0, 0] = 1, 2, 3
    save(colored, maps / f'{fifth.stem}.png')
    data = voc.MASKS.read(root)
    faults = faults_of(data)
    for kind, text in (
        (fault_kinds.MAP_MISSING, first.stem),
        (file_faults.IMAGE_MISSING, second.stem),
        (file_faults.MAP_UNREADABLE, third.stem),
        (file_faults.MAP_SIZE, f'{fourth.stem}.png: 9 x 5 instead of'),
        (file_faults.MAP_VALUES, f'{fifth.stem}.png: (1, 2, 3)'),
    ):
        assert text in faults.pop(kind).first
    assert not faults


def test_without_lists_images_without_maps_are_counted(root, scenes):
    write_voc_masks(root, scenes)
    shutil.rmtree(root / 'ImageSets')
    scene = scenes['train'][0]
    (root / 'SegmentationClass' / f'{scene.stem}.png').unlink()
    data = voc.MASKS.read(root)
    assert {s: len(p) for s, p in data.splits.items()} == {'train': 11}
    (fault,) = data.faults
    assert fault.kind == fault_kinds.MAP_MISSING


def test_numbers_beyond_the_names_are_a_fault(root, scenes):
    write_voc_masks_palette(root, scenes)
    write_text(root / 'labelmap.txt', *(f'{n}:::' for n in MAP_CLASSES[:3]))
    (fault,) = voc.MASKS.read(root).faults.errors
    assert fault.kind == file_faults.MAP_VALUES
    assert fault.first.endswith('.png: 3')


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        (['a:1,2,3::', 'b:::'], '1 of 2 classes'),
        (['a:1,2,3::', 'b:1,2,3::'], r'colour \(1, 2, 3\) twice'),
        (['a:1,2,3::', 'a:3,2,1::'], "name 'a' twice"),
        (['a:1,2,300::'], r'\(1, 2, 300\)'),
        (['# nothing'], 'no names'),
    ],
)
def test_a_wrong_label_map_file_is_refused(root, scenes, lines, message):
    write_voc_masks(root, scenes)
    path = write_text(root / 'labelmap.txt', *lines)
    with pytest.raises(ValueError, match=message) as error:
        voc.MASKS.read(root)
    assert str(path) in str(error.value)


def test_text_in_another_encoding_is_refused(root, scenes):
    write_voc_masks(root, scenes)
    path = root / 'labelmap.txt'
    path.write_bytes('Fähre:1,2,3::'.encode('latin-1'))
    with pytest.raises(ValueError, match='UTF-8') as error:
        voc.MASKS.read(root)
    assert str(path) in str(error.value)
