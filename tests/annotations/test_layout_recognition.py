# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Each layout is found where it is, and nowhere else."""

from pathlib import Path

import pytest
from write_layouts import COUNTS, WITHOUT_SPLITS, WRITERS, save, write_text

from ivit.annotations.layouts import class_folders, label_folders, voc, yolo

LAYOUTS = {
    'yolo': yolo.LAYOUT,
    'voc': voc.BOXES,
    'voc masks': voc.MASKS,
    'label folders': label_folders.LAYOUT,
    'class folders': class_folders.LAYOUT,
}
READABLE = [w for w in WRITERS if w.partition(',')[0] in LAYOUTS]


def files_below(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob('*')}


@pytest.mark.parametrize('writer', WRITERS)
def test_only_its_own_layout_is_found(root, scenes, writer):
    WRITERS[writer](root, scenes)
    own = writer.partition(',')[0]
    found = {name for name in LAYOUTS if LAYOUTS[name].find(root) is not None}
    assert found == {own} & set(LAYOUTS)


@pytest.mark.parametrize('writer', READABLE)
def test_all_is_read_and_nothing_written(root, scenes, writer):
    WRITERS[writer](root, scenes)
    layout = LAYOUTS[writer.partition(',')[0]]
    before = files_below(root)
    data = layout.read(root)
    assert files_below(root) == before
    assert (data.layout, data.task, data.root) == (
        layout.name,
        layout.task,
        root,
    )
    counts = {split: len(part) for split, part in data.splits.items()}
    if writer in WITHOUT_SPLITS:
        assert counts == {'train': sum(COUNTS.values())}
    elif writer == 'label folders, ade':
        assert counts == dict(train=COUNTS['train'], val=COUNTS['val'])
    else:
        assert counts == COUNTS
    assert list(data.faults) == []
    for split in data.splits.values():
        assert split.image_root.is_relative_to(root)
        for image in split.images:
            assert image.is_file()
            assert image.is_relative_to(split.image_root)


@pytest.mark.parametrize('writer', READABLE)
def test_relative_paths_are_read(tmp_path, scenes, writer, monkeypatch):
    WRITERS[writer](tmp_path, scenes)
    monkeypatch.chdir(tmp_path)
    layout = LAYOUTS[writer.partition(',')[0]]
    assert layout.find(Path('.')) == layout.find(tmp_path)
    data = layout.read(Path('.'))
    assert all(i.is_file() for s in data.splits.values() for i in s.images)


def test_an_empty_folder_and_one_of_images_have_no_layout(tmp_path, scenes):
    empty, images = tmp_path / 'empty', tmp_path / 'images only'
    empty.mkdir()
    save(scenes['train'][0].image, images / 'a.jpg')
    save(scenes['train'][0].image, images / 'more' / 'a.jpg')
    write_text(images / 'notes.txt', 'text')
    write_text(images / 'settings.yaml', 'names: [a, b]')
    for layout in LAYOUTS.values():
        assert layout.find(empty) is None
        assert layout.find(images) is None


def test_pictures_beside_the_files_of_coco_are_no_label_maps(root, scenes):
    WRITERS['coco, single file'](root, scenes)
    save(scenes['train'][0].label_map, root / 'annotations' / 'a.png')
    assert label_folders.LAYOUT.find(root) is None


def test_other_xml_is_not_voc(root, scenes):
    save(scenes['train'][0].image, root / 'images' / 'a.jpg')
    write_text(root / 'annotations' / 'a.xml', '<annotations><image/>')
    assert voc.BOXES.find(root) is None
