# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import json

import numpy as np
import pytest
from mmengine.registry import DATASETS, DefaultScope, init_default_scope
from PIL import Image

from ivit.datasets import ensure_fractal_scenes
from ivit.datasets.fractals.categories import search_category
from ivit.datasets.fractals.scenes import draw_scene
from ivit.datasets.scenes import MAX_OBJECTS

TINY = dict(num_train=6, num_val=3, image_size=64, num_categories=3, seed=1)


@pytest.fixture(scope='module')
def systems():
    return [search_category(1, k, 0.2) for k in range(3)]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data') / 'fractal_scenes'
    return ensure_fractal_scenes(folder, **TINY)


def test_scenes_have_objects_and_masks(systems):
    labels = []
    for index in range(1, 31):
        scene = draw_scene(systems, 0, 'train', index, 64)
        assert scene.image.shape == (64, 64, 3)
        assert scene.image.dtype == np.uint8
        assert len(scene.labels) == len(scene.masks) <= MAX_OBJECTS
        assert scene.masks.sum(0).max() <= 1
        assert (scene.masks.sum((1, 2)) > 0).all()
        labels += scene.labels
    assert set(labels) == {0, 1, 2}


def test_a_scene_depends_on_its_arguments_alone(systems):
    first = [draw_scene(systems, 3, 'val', i, 64) for i in (1, 2)]
    again = [draw_scene(systems, 3, 'val', i, 64) for i in (2, 1)][::-1]
    for a, b in zip(first, again, strict=True):
        assert (a.image == b.image).all()
        assert (a.masks == b.masks).all()
    for other in ((4, 'val', 1), (3, 'train', 1), (3, 'val', 2)):
        assert (draw_scene(systems, *other, 64).image != first[0].image).any()


def test_files(root):
    names = {p.name for p in root.iterdir()}
    assert names == {'annotations', 'images', 'labels', 'fractal_scenes.json'}
    coco = json.loads((root / 'annotations/instances_val.json').read_text())
    assert [c['name'] for c in coco['categories']] == [
        'fractal 0',
        'fractal 1',
        'fractal 2',
    ]
    assert len(coco['images']) == 3
    # The label map is the union of the masks, by the same numbers.
    found = {a['category_id'] for a in coco['annotations']}
    labels = {
        int(value)
        for path in (root / 'labels/val').iterdir()
        for value in np.unique(Image.open(path))
    }
    assert labels == {0, *found}


def test_the_same_settings_give_the_same_bytes(root, tmp_path):
    other = ensure_fractal_scenes(tmp_path / 'other', **TINY)
    for path in root.rglob('*.*'):
        same = other / path.relative_to(root)
        assert path.read_bytes() == same.read_bytes()


def test_other_settings_are_an_error(root):
    with pytest.raises(ValueError, match='num_categories 3 instead of 4'):
        ensure_fractal_scenes(root, **{**TINY, 'num_categories': 4})


@pytest.mark.parametrize(
    ('name', 'value'),
    [('num_categories', 255), ('num_categories', 1), ('num_train', 0)],
)
def test_settings_out_of_range(tmp_path, name, value):
    with pytest.raises(ValueError, match=f'{name}={value}'):
        ensure_fractal_scenes(tmp_path / 'x', **{**TINY, name: value})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('framework', 'kind', 'options', 'classes'),
    [
        (
            'mmdet',
            'FractalScenesDetDataset',
            dict(
                ann_file='annotations/instances_train.json',
                data_prefix=dict(img='images/train/'),
            ),
            3,
        ),
        (
            'mmseg',
            'FractalScenesSegDataset',
            dict(
                data_prefix=dict(
                    img_path='images/train', seg_map_path='labels/train'
                )
            ),
            4,
        ),
    ],
)
def test_frameworks_read_them(root, framework, kind, options, classes):
    pytest.importorskip(framework)
    before = DefaultScope.get_current_instance()
    init_default_scope(framework)
    dataset = DATASETS.build(
        dict(type=kind, data_root=str(root), **options, **TINY)
    )
    if before:
        init_default_scope(before.scope_name)
    assert len(dataset) == 6
    assert len(dataset.metainfo['classes']) == classes
    assert len(dataset.metainfo['palette']) == classes
