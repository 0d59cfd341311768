# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Folders as exports, systems and accidents leave them."""

import json
import os
import shutil

import pytest
from PIL import Image
from write_layouts import write_coco, write_voc, write_yolo

from ivit.annotations import file_faults
from ivit.annotations.checks import check, detection, images, segmentation
from ivit.annotations.layouts import fault_kinds
from ivit.annotations.recognise import read_coco_files, read_folder


@pytest.fixture
def coco(root, scenes):
    """A folder of COCO's layout, and its content for training."""
    write_coco(root, scenes)
    (path,) = (root / 'annotations').glob('*train*.json')
    return path, json.loads(path.read_text())


def kinds(data):
    check(data, quick=True)
    return {fault.kind for fault in data.faults}


@pytest.mark.parametrize('key', ['images', 'annotations', 'categories'])
@pytest.mark.parametrize('entry', [None, 'a', [1]])
def test_entries_that_are_no_dicts(root, coco, key, entry):
    path, content = coco
    content[key][0] = entry
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=key):
        read_folder(root)


@pytest.mark.parametrize('value', [None, '1', [1], {}, 1.5, True])
def test_ids_of_any_type_end_in_faults(root, coco, value):
    path, content = coco
    content['categories'][0]['id'] = value
    content['annotations'][0]['category_id'] = value
    content['annotations'][1]['image_id'] = value
    path.write_text(json.dumps(content))
    assert kinds(read_folder(root)) & {
        detection.ID_TYPE,
        detection.UNKNOWN_IMAGE,
    }


@pytest.mark.parametrize(
    ('place', 'value', 'kind'),
    [
        (('annotations', 'iscrowd'), '0', detection.CROWD),
        (('annotations', 'iscrowd'), 2, detection.CROWD),
        (('annotations', 'bbox'), [10**400, 0, 5, 5], None),
        (('annotations', 'segmentation'), [[10**400, 0, 5, 5, 6, 6]], None),
        (('categories', 'name'), None, detection.CATEGORY_NAME),
        (('categories', 'name'), 7, detection.CATEGORY_NAME),
        (('categories', 'name'), '', detection.CATEGORY_NAME),
        (('images', 'file_name'), '', detection.FILE_NAME),
    ],
)
def test_values_that_are_taken_wrongly(root, coco, place, value, kind):
    path, content = coco
    content[place[0]][0][place[1]] = value
    path.write_text(json.dumps(content))
    data = read_folder(root)
    found = kinds(data)
    assert kind in found if kind else data.faults.errors


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        (b'', 'no JSON'),
        (b'version https://git-lfs.github.com/spec/v1\n', 'git lfs pull'),
    ],
)
def test_a_file_of_coco_without_coco_is_named(root, coco, content, text):
    coco[0].write_bytes(content)
    with pytest.raises(ValueError, match=text):
        read_folder(root)


def test_a_word_within_a_word_is_no_split(root, coco):
    for path in (root / 'annotations').glob('*.json'):
        if path != coco[0]:
            path.unlink()
    coco[0].rename(coco[0].with_name('latest_interval.json'))
    assert list(read_folder(root).splits) == ['train']


def test_folders_in_other_letters_and_hidden_files(root, coco):
    (root / 'annotations' / f'._{coco[0].name}').write_bytes(b'\0\5')
    (root / 'annotations').rename(root / 'Annotations')
    assert 'train' in read_folder(root).splits


def test_images_at_any_depth(root, coco):
    number = len(read_folder(root).splits['train'])
    deep = root / 'a' / 'b' / 'c' / 'd'
    deep.mkdir(parents=True)
    for folder in list(root.iterdir()):
        if folder.name not in ('a', 'annotations'):
            shutil.move(folder, deep)
    data = read_folder(root)
    check(data, quick=True)
    assert len(data.splits['train']) == number
    assert not data.faults.errors


def test_the_nearest_image_is_named(root, coco):
    path, content = coco
    for image in content['images']:
        image['file_name'] = f'C:\\{image["file_name"].upper()}'
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match='There is .*jpg'):
        read_folder(root)


def test_images_in_no_annotation_file_are_told(root, coco):
    split = read_folder(root).splits['train']
    shutil.copy(split.images[0], split.images[0].with_name('more.jpg'))
    assert any('more.jpg' in note for note in read_folder(root).notes)


def test_validation_images_need_annotations(root, coco):
    with pytest.raises(ValueError, match='--val-ann'):
        read_coco_files(coco[0], root, val_images=root)


def test_a_folder_too_high_is_told(root, coco):
    with pytest.raises(ValueError, match=f'name .*{root.name}'):
        read_folder(root.parent)


def test_what_may_not_be_read_is_named(root, coco, monkeypatch):
    def refuse(path):
        raise PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr(type(root), 'read_bytes', refuse)
    with pytest.raises(ValueError, match=r'instances_.*json'):
        read_folder(root)


def test_images_that_training_cannot_read(root, coco):
    path = read_folder(root).splits['train'].images[0]
    with Image.open(path) as image:
        image.save(path, 'PCX')
    assert file_faults.IMAGE_UNREADABLE in kinds(read_folder(root))


@pytest.mark.parametrize(
    ('line', 'text'), [('nc: 99', '`nc`'), ('names: ["", a]', '`names`')]
)
def test_yolo_names_that_do_not_count(root, scenes, line, text):
    write_yolo(root, scenes)
    file = root / 'data.yaml'
    key = line.partition(':')[0]
    kept = file.read_text().splitlines()
    if key == 'names':
        kept = [one for one in kept if one.startswith(('train', 'val'))]
    file.write_text('\n'.join([*kept, line]))
    with pytest.raises(ValueError, match=text):
        read_folder(root)


def test_yolo_without_the_test_images_that_it_names(root, scenes):
    write_yolo(root, scenes)
    with (root / 'data.yaml').open('a') as file:
        file.write('\ntest: ../test/images\n')
    assert fault_kinds.TEST_MISSING in kinds(read_folder(root))
    assert not read_folder(root).faults.errors


def test_turned_images_of_yolo_keep_their_annotations(root, scenes):
    write_yolo(root, scenes)
    path = read_folder(root).splits['train'].images[0]
    exif = Image.Exif()
    exif[0x112] = 6
    with Image.open(path) as image:
        size = (image.width, image.height // 2)
        image.resize(size).save(path, exif=exif)
    found = kinds(read_folder(root))
    assert file_faults.EXIF_UNCLEAR in found
    assert images.EXIF_TURNED not in found


def test_voc_beside_images_and_lists_with_suffixes(root, scenes):
    write_voc(root, scenes)
    lists = root / 'ImageSets' / 'Main'
    before = {n: len(s) for n, s in read_folder(root).splits.items()}
    for path in lists.iterdir():
        names = path.read_text().splitlines()
        path.write_text('\r\n'.join(f'{name}.jpg 1' for name in names))
    after = {n: len(s) for n, s in read_folder(root).splits.items()}
    assert after == before
    shutil.rmtree(root / 'ImageSets')
    for folder in ('Annotations', 'JPEGImages'):
        for path in (root / folder).iterdir():
            os.replace(path, root / path.name)
        (root / folder).rmdir()
    assert len(read_folder(root).splits['train']) >= sum(before.values())


@pytest.mark.parametrize('name', ['gbk', 'nonsense'])
def test_voc_of_unknown_encodings(root, scenes, name):
    write_voc(root, scenes)
    path = min((root / 'Annotations').iterdir())
    path.write_text(f'<?xml version="1.0" encoding="{name}"?><annotation/>')
    faults = {fault.kind: fault for fault in read_folder(root).faults}
    assert path.name in faults[fault_kinds.XML_UNREADABLE].first


def test_maps_of_0_and_255_where_255_is_no_class(root):
    for folder, mode in (('images', 'RGB'), ('masks', 'L')):
        (root / folder).mkdir(parents=True)
        image = Image.new(mode, (8, 8))
        if mode == 'L':
            image.paste(255, (0, 0, 4, 8))
        image.save(root / folder / 'a.png')
    (root / 'classes.txt').write_text('a\nb\nc')
    data = read_folder(root)
    assert segmentation.BINARY_IGNORED in kinds(data)


def test_a_file_with_a_fault_is_counted_once(root):
    for folder in ('images', 'masks'):
        (root / folder).mkdir(parents=True)
        for name in 'ab':
            Image.new('L', (8, 8)).save(root / folder / f'{name}.png')
    (root / 'masks' / 'a.png').write_bytes(b'')
    (root / 'images' / 'b.png').write_bytes(b'')
    data = read_folder(root)
    check(data, quick=False)
    counts = {fault.kind: fault.count for fault in data.faults.errors}
    assert counts == {
        file_faults.MAP_UNREADABLE: 1,
        file_faults.IMAGE_UNREADABLE: 1,
    }
