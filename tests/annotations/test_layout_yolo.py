# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import json

import numpy as np
import pytest
from PIL import Image
from write_layouts import (
    CLASSES,
    polygon_area,
    save,
    write_text,
    write_yolo,
    write_yolo_polygons,
    write_yolo_roboflow,
)

from ivit.annotations import file_faults
from ivit.annotations.layouts import fault_kinds, yolo

#: Of a number of 6 digits after the point, in pixels of the widest scene.
ROUNDING = 84 * 1e-6


def objects_of(data, split, number):
    coco = data.splits[split].coco
    image = coco['images'][number]
    return image, [
        a for a in coco['annotations'] if a['image_id'] == image['id']
    ]


@pytest.fixture
def one(root, scenes):
    """A function that reads one image with the lines given."""

    def read(*lines, names='[a, b]', image=True):
        if image:
            save(np.zeros((50, 100, 3), np.uint8), root / 'images' / 'one.png')
        write_text(root / 'labels' / 'one.txt', *lines)
        write_text(root / 'data.yaml', 'train: images', f'names: {names}')
        return yolo.LAYOUT.read(root)

    return read


def faults_of(data):
    return {fault.kind: fault for fault in data.faults}


@pytest.mark.parametrize(
    'write', [write_yolo, write_yolo_polygons, write_yolo_roboflow]
)
def test_objects_are_those_that_were_drawn(root, scenes, write):
    write(root, scenes)
    data = yolo.LAYOUT.read(root)
    assert data.classes == CLASSES
    assert data.has_masks == (write is write_yolo_polygons)
    for split, members in scenes.items():
        coco = data.splits[split].coco
        assert [c['name'] for c in coco['categories']] == list(CLASSES)
        assert [c['id'] for c in coco['categories']] == [1, 2, 3]
        assert [i['id'] for i in coco['images']] == [
            *range(1, len(members) + 1)
        ]
        for number, scene in enumerate(members):
            image, objects = objects_of(data, split, number)
            assert (image['width'], image['height']) == scene.size
            assert [a['category_id'] - 1 for a in objects] == scene.labels
            np.testing.assert_allclose(
                [a['bbox'] for a in objects], scene.boxes, atol=2 * ROUNDING
            )
            assert all(a['iscrowd'] == 0 for a in objects)
            if not data.has_masks:
                areas = [w * h for _, _, w, h in scene.boxes]
                assert all('segmentation' not in a for a in objects)
            else:
                areas = [polygon_area(p) for p in scene.polygons]
                for a, polygon in zip(objects, scene.polygons, strict=True):
                    np.testing.assert_allclose(
                        a['segmentation'], [polygon], atol=ROUNDING
                    )
            np.testing.assert_allclose(
                [a['area'] for a in objects], areas, atol=0.01
            )
        ids = [a['id'] for a in coco['annotations']]
        assert len(set(ids)) == len(ids)


def test_mmdet_reads_the_result(root, scenes):
    pytest.importorskip('mmdet')
    from mmdet.datasets import CocoDataset

    write_yolo_polygons(root, scenes)
    split = yolo.LAYOUT.read(root).splits['train']
    path = root / 'train.json'
    path.write_text(json.dumps(split.coco))
    dataset = CocoDataset(
        ann_file=str(path),
        data_prefix=dict(img=str(split.image_root)),
        metainfo=dict(classes=CLASSES),
    )
    assert len(dataset) == len(scenes['train'])
    for item, scene in zip(dataset, scenes['train'], strict=True):
        assert Image.open(item['img_path']).size == scene.size
        labels = [i['bbox_label'] for i in item['instances']]
        assert labels == scene.labels


def test_a_path_that_is_not_there_and_stray_dots_are_noted(root, scenes):
    write_yolo(root, scenes)
    notes = yolo.LAYOUT.read(root).notes
    assert any('../datasets/elsewhere' in note for note in notes)
    write_yolo_roboflow(root / 'second', scenes)
    notes = yolo.LAYOUT.read(root / 'second').notes
    assert any('../valid/images' in note for note in notes)


def test_a_path_that_is_there_is_used(tmp_path, scenes):
    write_yolo(tmp_path / 'images here', scenes)
    text = (tmp_path / 'images here' / 'data.yaml').read_text()
    text = text.replace('../datasets/elsewhere', '../images here')
    root = tmp_path / 'file here'
    write_text(root / 'any name.yml', text)
    data = yolo.LAYOUT.read(root)
    assert len(data.splits['train']) == len(scenes['train'])
    assert data.notes == []


def test_lists_of_images_and_lists_of_folders(root, scenes):
    write_yolo(root, scenes)
    stems = [scene.stem for scene in scenes['val']]
    write_text(
        root / 'lists' / 'test.txt',
        f'./images/val/{stems[0]}.jpg',
        f'../images/val/{stems[1]}.jpg',
        str(root / 'images' / 'val' / f'{stems[2]}.jpg'),
        'images/val/gone.jpg',
    )
    write_text(
        root / 'data.yaml',
        'train: [images/train, images/val]',
        'test: lists/test.txt',
        'names: {0: a, 1: b, 2: c}',
    )
    data = yolo.LAYOUT.read(root)
    assert len(data.splits['train']) == 10
    assert [i.stem for i in data.splits['test'].images] == stems
    (fault,) = data.faults.errors
    assert fault.kind == file_faults.IMAGE_MISSING
    assert fault.first.endswith('gone.jpg')


def test_names_are_text_whatever_yaml_takes_them_for(one):
    data = one('7 0.5 0.5 0.2 0.2', names='{7: no, 3: 12, 9: null}')
    assert data.classes == ('12', 'no', 'null')
    assert data.splits['train'].coco['annotations'][0]['category_id'] == 2


def test_a_byte_order_mark_and_empty_lines_are_no_matter(one, root):
    one()
    for path in (root / 'data.yaml', root / 'labels' / 'one.txt'):
        path.write_text('\ufeff' + path.read_text(), 'utf-8')
    with (root / 'labels' / 'one.txt').open('a') as file:
        file.write('\n1.0 0.5 0.5 0.5 0.5\r\n\n')
    data = yolo.LAYOUT.read(root)
    assert not data.faults
    assert data.splits['train'].coco['annotations'][0]['bbox'] == [
        25,
        12.5,
        50,
        25,
    ]


def test_folders_above_the_data_say_nothing(tmp_path):
    root = tmp_path / 'images' / 'data'
    save(np.zeros((50, 100, 3), np.uint8), root / 'train' / 'a.png')
    write_text(root / 'train' / 'a.txt', '0 0.5 0.5 0.5 0.5')
    write_text(root / 'train' / 'readme.txt', 'text')
    write_text(root / 'data.yaml', 'train: train', 'names: [a]')
    data = yolo.LAYOUT.read(root)
    assert len(data.splits['train'].coco['annotations']) == 1
    assert not data.faults


def test_images_without_label_files_have_no_objects(root, scenes):
    write_yolo(root, scenes)
    (root / 'labels' / 'val' / f'{scenes["val"][1].stem}.txt').unlink()
    data = yolo.LAYOUT.read(root)
    assert len(data.splits['val']) == 3
    assert objects_of(data, 'val', 1)[1] == []
    assert any('1 of 3 images of val' in note for note in data.notes)
    assert not data.faults


def test_keypoints_are_left_out_and_noted(one, root):
    one('0 0.5 0.5 0.5 0.5 0.1 0.1 2 0.9 0.9 1')
    with (root / 'data.yaml').open('a') as file:
        file.write('kpt_shape: [2, 3]\n')
    data = yolo.LAYOUT.read(root)
    (found,) = data.splits['train'].coco['annotations']
    assert found['bbox'] == [25, 12.5, 50, 25]
    assert 'segmentation' not in found
    assert any('eypoints' in note for note in data.notes)


def test_boxes_among_polygons_are_noted(one):
    data = one('0 0.5 0.5 0.5 0.5', '1 0 0 1 0 1 1')
    assert any('1 objects have a polygon' in note for note in data.notes)


@pytest.mark.parametrize(
    ('line', 'kind', 'shown'),
    [
        ('2 0.5 0.5 0.2 0.2', fault_kinds.CLASS_INDEX, ': 2'),
        ('-1 0.5 0.5 0.2 0.2', fault_kinds.CLASS_INDEX, ': -1'),
        ('0.5 0.5 0.5 0.2 0.2', fault_kinds.CLASS_INDEX, ': 0.5'),
        ('0 0.5 0.5 0.2', fault_kinds.LINE_LENGTH, '4 numbers'),
        ('0 0.5 0.5 0.2 0.2 0.9', fault_kinds.LINE_LENGTH, '6 numbers'),
        ('0 0 0 1 0 1 1 0', fault_kinds.LINE_LENGTH, '8 numbers'),
        ('0 0.5 0.5 0.2 x', fault_kinds.NO_NUMBER, '0.2 x'),
        ('0 0.5 0.5 0.2 nan', fault_kinds.NO_NUMBER, 'nan'),
        ('cat 0.5 0.5 0.2 0.2', fault_kinds.NO_NUMBER, 'cat'),
        ('0 0,5 0,5 0,2 0,2', fault_kinds.NO_NUMBER, '0,5'),
        ('0 50 25 20 10', fault_kinds.OUTSIDE_UNIT, '50 25'),
        ('0 0.5 0.5 0.2 -0.2', fault_kinds.OUTSIDE_UNIT, '-0.2'),
        ('0 0 0 1.2 0 1 1', fault_kinds.OUTSIDE_UNIT, '1.2'),
    ],
)
def test_faults_of_lines(one, line, kind, shown):
    data = one('0 0.5 0.5 0.2 0.2', line, line)
    (fault,) = data.faults.errors
    assert fault.kind == kind
    assert fault.count == 2
    assert 'one.txt, line 2' in fault.first
    assert shown in fault.first
    assert len(data.splits['train'].coco['annotations']) == 1


def test_objects_are_clipped_to_their_image(one):
    data = one('0 0.95 0.5 0.2 0.2', '1 0.0 0.5 0.005 0.2', '0 1 1 0 0')
    boxes = [a['bbox'] for a in data.splits['train'].coco['annotations']]
    np.testing.assert_allclose(
        boxes, [[85, 20, 15, 10], [0, 20, 0.25, 10]], atol=1e-9
    )
    faults = faults_of(data)
    assert set(faults) == {fault_kinds.BOX_CLIPPED, fault_kinds.BOX_EMPTY}
    assert 'line 1' in faults[fault_kinds.BOX_CLIPPED].first
    assert 'line 3' in faults[fault_kinds.BOX_EMPTY].first


def test_faults_of_files(root, scenes):
    write_yolo(root, scenes)
    write_text(root / 'labels' / 'train' / 'alone.txt', '0 0.5 0.5 0.1 0.1')
    write_text(root / 'labels' / 'train' / 'classes.txt', 'a')
    broken = root / 'images' / 'train' / f'{scenes["train"][2].stem}.jpg'
    broken.write_bytes(b'no image')
    for path in (root / 'labels' / 'test').iterdir():
        path.unlink()
    for path in (root / 'images' / 'val').iterdir():
        path.unlink()
    data = yolo.LAYOUT.read(root)
    faults = faults_of(data)
    assert set(faults) == {
        fault_kinds.LABEL_WITHOUT_IMAGE,
        file_faults.IMAGE_UNREADABLE,
        fault_kinds.NO_LABEL_FILES,
        fault_kinds.NO_IMAGES,
    }
    assert 'alone.txt' in faults[fault_kinds.LABEL_WITHOUT_IMAGE].first
    first = faults[file_faults.IMAGE_UNREADABLE].first
    assert first.startswith(str(broken))
    assert len(data.splits['train']) == 6
    wanted = str(root / 'labels' / 'test')
    assert wanted in faults[fault_kinds.NO_LABEL_FILES].first
    assert 'val' not in data.splits


def test_a_missing_folder_is_named(root, scenes):
    write_yolo(root, scenes)
    text = (root / 'data.yaml').read_text()
    (root / 'data.yaml').write_text(text.replace('images/val', 'images/gone'))
    (fault,) = yolo.LAYOUT.read(root).faults.errors
    assert fault.kind == fault_kinds.FOLDER_MISSING
    assert str(root / 'images' / 'gone') in fault.first
    (root / 'data.yaml').write_text(
        text.replace('images/train', 'images/gone')
    )
    with pytest.raises(ValueError, match='images/gone'):
        yolo.LAYOUT.read(root)


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        (['train: images', 'names: a b'], "names.* is 'a b'"),
        (['train: images', 'names: {a: b}'], 'names.*a name for each index'),
        (['train: images', 'names: [a, [b]]'], 'list of names'),
        (['train: images', 'names: [a, b, a]'], "'a' twice"),
        (['train: {a: b}', 'names: [a]'], '`train` is'),
        (['train: images', 'names: [a'], 'no YAML'),
    ],
)
def test_a_wrong_yaml_file_is_refused(root, lines, message):
    path = write_text(root / 'data.yaml', *lines)
    assert yolo.LAYOUT.find(root) == 'data.yaml'
    with pytest.raises(ValueError, match=message) as error:
        yolo.LAYOUT.read(root)
    assert str(path) in str(error.value)


def test_of_several_yaml_files_data_is_taken(root, scenes):
    write_yolo(root, scenes)
    text = (root / 'data.yaml').read_text()
    (root / 'a.yaml').write_text(text.replace('Fähre', 'other'))
    assert yolo.LAYOUT.read(root).classes == CLASSES
    (root / 'data.yaml').rename(root / 'b.yaml')
    with pytest.raises(ValueError, match='a.yaml, b.yaml'):
        yolo.LAYOUT.read(root)
