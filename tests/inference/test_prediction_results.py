# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What results become: COCO's form, pictures, supervision's objects."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from pycocotools.coco import COCO
from random_runs import CLASSIFIER, DETECTOR, SEGMENTORS

SCORE = 0.2


@pytest.fixture
def detections(models, images):
    """Some objects with masks."""
    result = models[DETECTOR].predict(images / 'a.png', score=SCORE)
    assert len(result) > 3
    return result


def test_coco_and_back(detections, tmp_path):
    results = detections.to_coco(7)
    (tmp_path / 'results.json').write_text(json.dumps(results))
    coco = COCO()
    coco.dataset = dict(
        images=[dict(id=7, width=120, height=90)],
        categories=[dict(id=i, name=str(i)) for i in range(1, 7)],
        annotations=[],
    )
    coco.createIndex()
    loaded = coco.loadRes(str(tmp_path / 'results.json'))
    found = loaded.loadAnns(loaded.getAnnIds(imgIds=[7]))
    assert len(found) == len(detections)
    for i, one in enumerate(found):
        assert one['category_id'] == detections.labels[i] + 1
        assert_allclose(one['score'], detections.scores[i])
        x, y, width, height = one['bbox']
        box = [x, y, x + width, y + height]
        assert_allclose(box, detections.boxes[i], rtol=1e-5)
        assert_array_equal(loaded.annToMask(one), detections.masks[i])


def test_without_masks(models, images, detections):
    detections.masks = None
    assert 'segmentation' not in detections.to_coco(1)[0]
    assert detections.draw().shape == (90, 120, 3)


def test_names_and_order(detections, models):
    classes = models[DETECTOR].classes
    assert detections.names == [classes[i] for i in detections.labels]
    assert (np.diff(detections.scores) <= 0).all()
    assert detections.boxes.dtype == detections.scores.dtype == np.float32
    assert detections.masks.dtype == bool


def test_supervision(detections, monkeypatch):
    monkeypatch.setitem(sys.modules, 'supervision', None)
    with pytest.raises(ImportError, match='pip install supervision'):
        detections.to_supervision()
    stand_in = SimpleNamespace(Detections=SimpleNamespace)
    monkeypatch.setitem(sys.modules, 'supervision', stand_in)
    given = detections.to_supervision()
    assert_array_equal(given.xyxy, detections.boxes)
    assert_array_equal(given.class_id, detections.labels)
    assert_array_equal(given.confidence, detections.scores)
    assert_array_equal(given.mask, detections.masks)
    assert given.data['class_name'].tolist() == detections.names


@pytest.mark.parametrize('name', [DETECTOR, *SEGMENTORS, CLASSIFIER])
@pytest.mark.parametrize('kind', ['path', 'array'])
def test_pictures(models, images, tmp_path, name, kind):
    path = images / 'more' / 'a.jpg'
    with Image.open(path) as image:
        rgb = np.asarray(image)
    given = path if kind == 'path' else rgb
    result = models[name].predict(given, score=SCORE)
    assert_array_equal(result.picture.read(), rgb)
    result.save(tmp_path / 'x.png')
    with Image.open(tmp_path / 'x.png') as picture:
        drawn = np.asarray(picture)
    assert_array_equal(drawn, result.draw())
    if name == CLASSIFIER:  # enlarged for the text on it
        assert min(drawn.shape[:2]) == 224
    else:
        assert drawn.shape == rgb.shape
        assert (drawn != rgb).mean() > 0.05
    with pytest.raises(ValueError, match='x.png exists'):
        result.save(tmp_path / 'x.png')
    with pytest.raises(ValueError, match=r"'\.txt'"):
        result.save(tmp_path / 'x.txt')


def test_a_picture_without_objects_is_the_image(models, images):
    path = images / 'a.png'
    result = models[DETECTOR].predict(path, score=1.0)
    assert len(result) == 0
    assert result.masks.shape == (0, 90, 120)
    assert result.to_coco(1) == []
    with Image.open(path) as image:
        assert_array_equal(result.draw(), np.asarray(image))


def test_a_picture_of_a_file_after_another_folder_is_entered(
    models, images, monkeypatch, tmp_path
):
    monkeypatch.chdir(images)
    result = models[DETECTOR].predict('a.png')
    monkeypatch.chdir(tmp_path)
    assert result.draw().shape == (90, 120, 3)


def test_colours_are_the_palettes(models, images):
    """A segmentor's picture is a mixture of image and palette."""
    model = models[SEGMENTORS[1]]
    result = model.predict(images / 'a.png')
    image = result.picture.read().astype(float)
    palette = np.array(model.palette, float)
    mixed = 0.4 * image + 0.6 * palette[result.labels]
    off = np.abs(result.draw() - mixed).max(-1)
    assert (off < 2).mean() > 0.7  # the rest is text


def test_labels_as_a_file(models, images, tmp_path):
    result = models[SEGMENTORS[0]].predict(images / 'a.png')
    result.save_labels(tmp_path / 'labels.png')
    with Image.open(tmp_path / 'labels.png') as image:
        assert image.mode == 'L'
        assert_array_equal(np.asarray(image), result.labels)
    with pytest.raises(ValueError, match='labels.png exists'):
        result.save_labels(tmp_path / 'labels.png')
    with pytest.raises(ValueError, match='labels.jpg'):
        result.save_labels(tmp_path / 'labels.jpg')
    assert result.names == list(models[SEGMENTORS[0]].classes)


def test_a_black_class_leaves_the_image_as_it_is(models, images):
    """Background is black in the palette; it has no name either."""
    result = models[SEGMENTORS[0]].predict(images / 'a.png')
    result.labels[:] = 0
    assert_array_equal(result.draw(), result.picture.read())
    result.labels[:40] = 3
    changed = (result.draw() != result.picture.read()).any(-1)
    assert changed[:40].mean() > 0.9
    assert not changed[40:].any()
