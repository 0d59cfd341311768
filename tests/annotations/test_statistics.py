# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Counts of drawn scenes against counts of what was drawn."""

from collections import Counter

import numpy as np
import pytest
from write_layouts import (
    CLASSES,
    write_class_folders,
    write_coco,
    write_label_folders,
)

from ivit.annotations import statistics
from ivit.annotations.recognise import read_folder
from ivit.annotations.statistics import collect_statistics


def count(scenes, number):
    """Over scenes, how often ``number`` returns each class."""
    total = Counter()
    for scene in scenes:
        total.update(number(scene))
    return [total[i] for i in range(len(CLASSES))]


def test_objects(root, scenes):
    write_coco(root, scenes)
    found = collect_statistics(read_folder(root))
    assert list(found) == list(scenes)
    for name, split in found.items():
        members = scenes[name]
        assert split.num_images == split.num_read == len(members)
        objects = count(members, lambda scene: scene.labels)
        assert list(split.objects.values()) == objects
        assert split.num_objects == sum(objects)
        with_it = count(members, lambda scene: set(scene.labels))
        assert list(split.images_with.values()) == with_it
        assert list(split.images_with) == list(CLASSES)
        assert split.image_sizes.tolist() == [list(s.size) for s in members]
        assert split.pixels is None


def test_sizes_of_objects(root, scenes):
    write_coco(root, scenes)
    data = read_folder(root)
    coco = data.splits['train'].coco
    sides = [4, 31.9, 32, 95.9, 96, 300]
    areas = [side**2 for side in sides]
    coco['annotations'] = [
        dict(coco['annotations'][0], area=area) for area in areas
    ]
    split = collect_statistics(data)['train']
    assert split.coco_sizes == dict(small=2, medium=2, large=2)
    width, height = coco['images'][0]['width'], coco['images'][0]['height']
    expected = np.array(sides) / np.sqrt(width * height)
    np.testing.assert_allclose(split.object_sizes, expected)


def test_area_of_the_box_where_there_is_none(root, scenes):
    write_coco(root, scenes)
    data = read_folder(root)
    annotation = data.splits['train'].coco['annotations'][0]
    annotation['bbox'] = [0, 0, 10, 40]
    del annotation['area']
    data.splits['train'].coco['annotations'] = [annotation]
    split = collect_statistics(data)['train']
    image = data.splits['train'].coco['images'][0]
    share = 400 / (image['width'] * image['height'])
    np.testing.assert_allclose(split.object_sizes, [share**0.5])


def test_faults_are_passed_over(root, scenes):
    write_coco(root, scenes)
    data = read_folder(root)
    coco = data.splits['train'].coco
    before = collect_statistics(data)['train'].num_objects
    coco['annotations'][0] = dict(id=1)
    coco['annotations'][1]['bbox'] = ['1', '2', '3', '4']
    coco['annotations'][2]['category_id'] = [1]
    del coco['images'][1]['width']
    split = collect_statistics(data)['train']
    assert split.num_objects == before - 2
    assert len(split.image_sizes) == len(coco['images']) - 1


@pytest.mark.parametrize('most', [500, 2])
def test_pixels(root, scenes, most, monkeypatch):
    monkeypatch.setattr(statistics, 'MOST_READ', most)
    write_label_folders(root, scenes)
    data = read_folder(root)
    split = collect_statistics(data)['train']
    members = scenes['train']
    assert split.num_images == len(members)
    assert split.num_read == min(most, len(members))
    assert sum(split.pixels.values()) == pytest.approx(1)
    if most > len(members):
        joint = np.concatenate([s.label_map.ravel() for s in members])
        shares = np.bincount(joint, minlength=len(split.pixels)) / len(joint)
        assert list(split.pixels.values()) == pytest.approx(shares.tolist())
        for index, number in enumerate(split.images_with.values()):
            assert number == sum((s.label_map == index).any() for s in members)


def test_classes(root, scenes):
    write_class_folders(root, scenes)
    data = read_folder(root)
    split = collect_statistics(data)['train']
    numbers = Counter(CLASSES[s.class_index] for s in scenes['train'])
    assert {k: v for k, v in split.images_with.items() if v} == numbers
    assert len(split.image_sizes) == len(scenes['train'])
    assert split.objects is split.pixels is None
