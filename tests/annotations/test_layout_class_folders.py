# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import shutil

import pytest
from write_layouts import (
    CLASSES,
    ROBOFLOW_FOLDERS,
    save,
    write_class_folders,
    write_class_folders_flat,
)

from ivit.annotations import file_faults
from ivit.annotations.checks import check
from ivit.annotations.layouts import class_folders, fault_kinds

find, read = class_folders.LAYOUT.find, class_folders.LAYOUT.read


@pytest.fixture
def image(scenes):
    return scenes['train'][0].image


def check_samples(split, members):
    drawn = {scene.stem: scene.class_index for scene in members}
    assert {path.stem: index for path, index in split.samples} == drawn


def test_classes_are_those_that_were_drawn(root, scenes):
    write_class_folders(root, scenes)
    data = read(root)
    assert data.classes == CLASSES
    assert set(data.splits) == set(scenes)
    for split, members in scenes.items():
        check_samples(data.splits[split], members)
    assert not data.faults
    assert not data.notes


def test_class_folders_alone_are_for_training(root, scenes):
    write_class_folders_flat(root, scenes)
    data = read(root)
    assert data.classes == CLASSES
    assert set(data.splits) == {'train'}
    check_samples(data.splits['train'], sum(scenes.values(), []))


@pytest.mark.parametrize('val', ['valid', 'validation', 'Val'])
def test_spellings_of_val(root, scenes, val):
    write_class_folders(root, scenes)
    (root / 'val').rename(root / val)
    data = read(root)
    check_samples(data.splits['val'], scenes['val'])


def test_mmpretrain_numbers_classes_alike(root, scenes):
    pytest.importorskip('mmpretrain')
    from mmpretrain.datasets import CustomDataset

    write_class_folders(root, scenes)
    data = read(root)
    theirs = CustomDataset(data_prefix=str(root / 'train'))
    assert tuple(theirs.CLASSES) == data.classes
    ours = {str(path): i for path, i in data.splits['train'].samples}
    assert {i['img_path']: i['gt_label'] for i in theirs} == ours


def test_classes_may_be_called_like_splits_and_masks(root, image):
    for name in ('train', 'mask', 'no mask', 'Test'):
        save(image, root / 'train' / name / 'a.jpg')
    assert read(root).classes == ('Test', 'mask', 'no mask', 'train')


@pytest.mark.parametrize(
    'folders',
    [
        ['train/images', 'train/labels'],
        ['train/image', 'train/mask'],
        ['images', 'masks'],
        ['train2017', 'val2017'],
        ['JPEGImages', 'SegmentationClass'],
        ['train', 'valid'],
        ['train/one class'],
        ['one class'],
        ['train/a/b', 'train/c/d'],
    ],
)
def test_other_folders_are_no_classes(root, image, folders):
    for folder in folders:
        save(image, root / folder / 'a.png')
    assert find(root) is None


def test_folders_of_images_with_labels_beside_are_no_classes(root, image):
    for folder in ('train/a', 'train/b'):
        save(image, root / folder / 'a.png')
        (root / folder / 'a.txt').write_text('0 .5 .5 .1 .1')
    assert find(root) is None


def test_a_loose_image_and_other_formats_are_told(root, image):
    for folder in ('train/a', 'train/b', 'train'):
        save(image, root / folder / 'a.png')
    save(image, root / 'train' / 'a' / 'b.gif')
    data = read(root)
    assert len(data.splits['train']) == 2
    assert {fault.kind for fault in data.faults} == {
        fault_kinds.IMAGE_WITHOUT_CLASS,
        fault_kinds.IMAGE_FORMAT,
    }


def test_links_are_followed_and_broken_ones_kept(root, scenes, image):
    write_class_folders(root, scenes)
    number = len(read(root).splits['train'])
    save(image, root.parent / 'elsewhere' / 'a.png')
    folder = root / 'train' / CLASSES[0]
    (folder / 'linked').symlink_to(root.parent / 'elsewhere')
    (folder / 'loop').symlink_to(folder)
    (folder / 'lost.jpg').symlink_to(root / 'nowhere.jpg')
    data = read(root)
    assert len(data.splits['train']) == number + 2
    check(data, quick=True)
    (fault,) = data.faults.errors
    assert fault.kind is file_faults.IMAGE_MISSING
    assert 'lost.jpg' in fault.first


def test_folders_of_programs_are_no_classes(root, scenes, image):
    write_class_folders(root, scenes)
    save(image, root / 'train' / '.ipynb_checkpoints' / 'a.png')
    (root / 'train' / '__pycache__').mkdir()
    assert read(root).classes == CLASSES


def test_faults(root, scenes, image):
    write_class_folders(root, scenes)
    (root / 'train' / '自転車, empty').mkdir()
    save(image, root / 'val' / 'unknown' / 'a.jpg')
    save(image, root / 'val' / 'alone.jpg')
    data = read(root)
    faults = {fault.kind: fault for fault in data.faults}
    assert set(faults) == {
        fault_kinds.CLASS_EMPTY,
        fault_kinds.CLASS_UNKNOWN,
        fault_kinds.IMAGE_WITHOUT_CLASS,
    }
    assert faults[fault_kinds.CLASS_EMPTY].first.endswith('empty')
    assert faults[fault_kinds.CLASS_EMPTY].kind.level == 'warning'
    assert faults[fault_kinds.CLASS_UNKNOWN].first.endswith('unknown')
    assert faults[fault_kinds.CLASS_UNKNOWN].kind.level == 'error'
    assert faults[fault_kinds.IMAGE_WITHOUT_CLASS].first.endswith('alone.jpg')
    assert data.classes == (*CLASSES, '自転車, empty')
    check_samples(data.splits['val'], scenes['val'])


def test_a_test_folder_without_classes_is_noted(root, scenes, image):
    write_class_folders(root, scenes)
    shutil.rmtree(root / ROBOFLOW_FOLDERS['test'])
    save(image, root / 'test' / 'a.jpg')
    data = read(root)
    assert set(data.splits) == {'train', 'val'}
    assert any(note.startswith('test has no class') for note in data.notes)
