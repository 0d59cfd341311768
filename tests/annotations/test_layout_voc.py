# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import json
import shutil

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from write_layouts import (
    CLASSES,
    save,
    write_text,
    write_voc,
    write_voc_file,
    write_voc_roboflow,
)

from ivit.annotations import file_faults
from ivit.annotations.layouts import fault_kinds, voc


def objects_by_stem(data, split):
    coco = data.splits[split].coco
    found = {}
    for image in coco['images']:
        stem = image['file_name'].rpartition('/')[2].rpartition('.')[0]
        found[stem] = [
            a for a in coco['annotations'] if a['image_id'] == image['id']
        ]
    return found


def check_objects(data, scenes):
    for split, members in scenes.items():
        found = objects_by_stem(data, split)
        assert set(found) == {scene.stem for scene in members}
        for scene in members:
            objects = found[scene.stem]
            assert [a['bbox'] for a in objects] == scene.boxes
            assert [a['category_id'] - 1 for a in objects] == scene.labels
            assert [a['area'] for a in objects] == [
                w * h for _, _, w, h in scene.boxes
            ]
    sizes = [(i['width'], i['height']) for i in coco_of(data)['images']]
    assert sizes == [scene.size for scene in scenes['train']]


def coco_of(data):
    return data.splits['train'].coco


def faults_of(data):
    return {fault.kind: fault for fault in data.faults}


@pytest.mark.parametrize('write', [write_voc, write_voc_roboflow])
def test_objects_are_those_that_were_drawn(root, scenes, write):
    write(root, scenes)
    data = voc.BOXES.read(root)
    assert data.classes == CLASSES
    assert not data.has_masks
    check_objects(data, scenes)
    assert all(a['iscrowd'] == 0 for a in coco_of(data)['annotations'])


def test_without_lists_all_is_for_training(root, scenes):
    write_voc(root, scenes)
    shutil.rmtree(root / 'ImageSets')
    data = voc.BOXES.read(root)
    assert set(data.splits) == {'train'}
    check_objects(data, {'train': sum(scenes.values(), [])})
    assert any('has no lists' in note for note in data.notes)


def test_trainval_without_train_is_what_val_and_test_leave(root, scenes):
    write_voc(root, scenes)
    lists = root / 'ImageSets' / 'Main'
    stems = [s.stem for split in ('train', 'val') for s in scenes[split]]
    write_text(lists / 'trainval.txt', *stems)
    write_text(lists / 'boat_trainval.txt', *(f'{stem}  -1' for stem in stems))
    check_objects(voc.BOXES.read(root), scenes)
    (lists / 'train.txt').unlink()
    data = voc.BOXES.read(root)
    check_objects(data, scenes)
    assert any('trainval.txt' in note for note in data.notes)


def test_images_are_found_where_the_file_says(root, scenes):
    for number, scene in enumerate(scenes['train']):
        write_voc_file(root / 'annotations' / f'{number}.xml', scene)
        save(scene.image, root / 'JPEGImages' / f'{scene.stem}.jpg')
    shutil.move(root / 'JPEGImages', root / 'pictures')
    for path in (root / 'annotations').iterdir():
        text = path.read_text('utf-8')
        path.write_text(text.replace('JPEGImages', 'pictures'), 'utf-8')
    check_objects(voc.BOXES.read(root), {'train': scenes['train']})


def test_names_without_a_suffix_and_other_suffixes(root, scenes):
    for scene in scenes['train']:
        path = root / 'annotations' / f'{scene.stem}.xml'
        write_voc_file(path, scene)
        text = path.read_text('utf-8')
        path.write_text(text.replace('.jpg', ''), 'utf-8')
        save(scene.image, root / 'images' / f'{scene.stem}.png')
    check_objects(voc.BOXES.read(root), {'train': scenes['train']})


def test_difficult_objects_are_ignored_in_training_and_evaluation(
    root, scenes
):
    pytest.importorskip('mmdet')
    from mmdet.datasets import CocoDataset

    write_voc(root, scenes)
    scene = scenes['train'][2]
    write_voc_file(root / 'Annotations' / f'{scene.stem}.xml', scene, 1)
    data = voc.BOXES.read(root)
    marked = [a['iscrowd'] for a in objects_by_stem(data, 'train')[scene.stem]]
    assert marked == [1, 0, 0]
    assert sum(a['iscrowd'] for a in coco_of(data)['annotations']) == 1
    assert any('1 objects are marked as difficult' in n for n in data.notes)
    path = root / 'train.json'
    path.write_text(json.dumps(coco_of(data)))
    metainfo = dict(classes=CLASSES)
    dataset = CocoDataset(
        ann_file=str(path), metainfo=metainfo, data_prefix=dict(img='')
    )
    flags = [i['ignore_flag'] for i in dataset[2]['instances']]
    assert flags == [1, 0, 0]
    # Finding all but the difficult one is perfect.
    truth = COCO(str(path))
    found = [
        dict(
            image_id=a['image_id'],
            category_id=a['category_id'],
            bbox=a['bbox'],
            score=1.0,
        )
        for a in coco_of(data)['annotations']
        if not a['iscrowd']
    ]
    evaluation = COCOeval(truth, truth.loadRes(found), 'bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval['precision']
    np.testing.assert_allclose(precision[precision > -1], 1)


@pytest.mark.parametrize(
    ('name', 'lines'),
    [
        ('labels.txt', CLASSES[::-1]),
        (
            'labelmap.txt',
            ['# label:color', 'background:0,0,0::']
            + [f'{name}:{i},9,9::' for i, name in enumerate(CLASSES[::-1])],
        ),
    ],
)
def test_a_list_of_names_gives_their_order(root, scenes, name, lines):
    write_voc(root, scenes)
    write_text(root / name, '\ufeff' + lines[0], *lines[1:])
    data = voc.BOXES.read(root)
    assert data.classes == CLASSES[::-1]
    found = objects_by_stem(data, 'train')
    for scene in scenes['train']:
        numbers = [a['category_id'] for a in found[scene.stem]]
        assert numbers == [3 - label for label in scene.labels]
    assert not data.faults


def test_a_name_that_is_not_listed_is_a_fault(root, scenes):
    write_voc(root, scenes)
    write_text(root / 'labels.txt', *CLASSES[:2])
    fault = faults_of(voc.BOXES.read(root))[fault_kinds.XML_CLASS]
    assert CLASSES[2] in fault.first
    labels = [x for split in scenes.values() for s in split for x in s.labels]
    assert fault.count == labels.count(2)


@pytest.fixture
def one(root):
    """A function that reads one image of 100 x 50 with an XML file."""

    def read(*objects, size='', file_name='one.png'):
        save(np.zeros((50, 100, 3), np.uint8), root / 'JPEGImages/one.png')
        write_text(
            root / 'Annotations' / 'one.xml',
            f'<annotation><filename>{file_name}</filename>{size}',
            *objects,
            '</annotation>',
        )
        return voc.BOXES.read(root)

    return read


def xml_object(xmin, ymin, xmax, ymax, name='cat'):
    return (
        f'<object><name>{name}</name><part><bndbox><xmin>1</xmin></bndbox>'
        f'</part><bndbox><xmax>{xmax}</xmax><ymax>{ymax}</ymax>'
        f'<xmin>{xmin}</xmin><ymin>{ymin}</ymin></bndbox></object>'
    )


def test_corners_are_pixels_counted_from_one(one):
    # The whole image, one pixel, and fractions.
    data = one(
        xml_object(1, 1, 100, 50),
        xml_object(7, 9, 7, 9),
        xml_object('1.5', '2.25', '10.5', '20.0'),
    )
    assert [a['bbox'] for a in coco_of(data)['annotations']] == [
        [0, 0, 100, 50],
        [6, 8, 1, 1],
        [0.5, 1.25, 10, 18.75],
    ]
    assert not data.faults


def test_faults_of_objects(one):
    data = one(
        xml_object(1, 1, 10, 10),
        xml_object(90, 1, 110, 10),
        xml_object(30, 1, 20, 10),
        xml_object('x', 1, 20, 10),
        xml_object(1, 1, 20, 10, name=''),
        xml_object(0, 0, 5, 5),
    )
    faults = faults_of(data)
    assert set(faults) == {
        fault_kinds.BOX_CLIPPED,
        fault_kinds.BOX_SWAPPED,
        fault_kinds.BOX_UNREADABLE,
    }
    assert faults[fault_kinds.BOX_UNREADABLE].count == 2
    assert 'one.xml, object 4' in faults[fault_kinds.BOX_UNREADABLE].first
    boxes = [a['bbox'] for a in coco_of(data)['annotations']]
    assert boxes == [[0, 0, 10, 10], [89, 0, 11, 10], [0, 0, 5, 5]]


def test_another_size_than_annotated_is_a_fault(one):
    size = '<size><width>{}</width><height>{}</height></size>'
    good = xml_object(1, 1, 10, 10)
    assert not one(good, size=size.format(100, 50)).faults
    assert not one(good, size=size.format(0, 0)).faults
    (fault,) = one(good, size=size.format(50, 100)).faults.errors
    assert fault.kind == fault_kinds.XML_SIZE
    assert '100 x 50 instead of 50 x 100' in fault.first


def test_paths_of_other_systems_are_read(one, root):
    good = xml_object(1, 1, 10, 10)
    assert not one(good, file_name='C:\\data\\one.png').faults
    shutil.move(root / 'Annotations/one.xml', root / 'Annotations/two.xml')
    data = voc.BOXES.read(root)
    assert [p.name for p in data.splits['train'].images] == ['one.png']


def test_faults_of_files(root, scenes):
    write_voc(root, scenes)
    first, second, third, fourth = scenes['train'][:4]
    xml = root / 'Annotations'
    (xml / f'{first.stem}.xml').write_text('<annotation>')
    (xml / f'{second.stem}.xml').unlink()
    (root / 'JPEGImages' / f'{third.stem}.jpg').unlink()
    (root / 'JPEGImages' / f'{fourth.stem}.jpg').write_bytes(b'no image')
    write_voc_file(xml / 'unlisted.xml', first)
    data = voc.BOXES.read(root)
    faults = faults_of(data)
    for kind, scene in (
        (fault_kinds.XML_UNREADABLE, first),
        (fault_kinds.XML_MISSING, second),
        (file_faults.IMAGE_MISSING, third),
        (file_faults.IMAGE_UNREADABLE, fourth),
    ):
        assert scene.stem in faults.pop(kind).first
    assert not faults
    assert len(data.splits['train']) == 3
    assert any('unlisted' in note for note in data.notes)


def test_images_without_annotations_are_counted(root, scenes):
    write_voc_roboflow(root, scenes)
    save(scenes['train'][0].image, root / 'valid' / 'more.jpg')
    (fault,) = voc.BOXES.read(root).faults
    assert fault.kind == fault_kinds.XML_MISSING
    assert fault.first.endswith('more.jpg')


def test_sub_folders_as_of_cvat(root, scenes):
    for split, members in scenes.items():
        for scene in members:
            name = f'Süd hof/{scene.stem}'
            save(scene.image, root / 'JPEGImages' / f'{name}.jpg')
            write_voc_file(root / 'Annotations' / f'{name}.xml', scene)
        names = [f'"Süd hof/{scene.stem}"' for scene in members]
        lists = root / 'ImageSets' / 'Main'
        split = 'default' if split == 'train' else split
        write_text(lists / f'{split}.txt', *names)
    assert voc.BOXES.find(root) is not None
    check_objects(voc.BOXES.read(root), scenes)


def test_nothing_to_train_on_is_refused(root, scenes):
    write_voc(root, scenes)
    for path in (root / 'JPEGImages').iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r'labels\.txt'):
        voc.BOXES.read(root)
    write_text(root / 'labels.txt', *CLASSES)
    with pytest.raises(ValueError, match='image file is missing'):
        voc.BOXES.read(root)
