# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Predictions: kinds of images, batches, and the frameworks' own."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image, ImageOps
from random_runs import CLASSIFIER, DETECTOR, SEGMENTORS

from ivit.inference import Classification, Detections, ImageError, LabelMap

ALL = (DETECTOR, *SEGMENTORS, CLASSIFIER)
SCORE = 0.2
KINDS = dict(
    detection=Detections, segmentation=LabelMap, classification=Classification
)


def assert_same(one, other, exact=True):
    """Two results have the same numbers."""
    tolerance = dict(rtol=0, atol=0) if exact else dict(rtol=1e-4, atol=1e-4)
    assert type(one) is type(other)
    assert one.size == other.size
    assert_allclose(one.scores, other.scores, **tolerance)
    if isinstance(one, Detections):
        assert_array_equal(one.labels, other.labels)
        assert one.names == other.names
        assert_allclose(one.boxes, other.boxes, rtol=1e-4, atol=1e-2)
        assert (one.masks != other.masks).mean() <= (0 if exact else 1e-3)
    elif isinstance(one, LabelMap):
        differ = (one.labels != other.labels).mean()
        assert differ <= (0 if exact else 1e-3)
    else:
        assert (one.label, one.name) == (other.label, other.name)


@pytest.mark.parametrize('name', ALL)
def test_every_kind_of_image_is_the_file(models, images, name):
    model = models[name]
    path = images / 'a.png'
    expected = model.predict(path, score=SCORE)
    assert type(expected) is KINDS[model.task]
    assert expected.path == path
    assert expected.size == (120, 90)
    with Image.open(path) as image:
        rgb = np.asarray(image)
        for given in (str(path), image, image.convert('RGBA'), rgb):
            assert_same(model.predict(given, score=SCORE), expected)
    assert model.predict(rgb).path is None
    assert_same(model.predict([rgb], score=SCORE)[0], expected)
    # BGR is another image.
    other = model.predict(rgb[..., ::-1], score=SCORE)
    assert not np.array_equal(other.scores, expected.scores)


def test_jpeg_by_path_and_by_pillow(models, images):
    path = images / 'b.jpg'
    with Image.open(path) as image:
        result = models[DETECTOR].predict(image, score=SCORE)
    expected = models[DETECTOR].predict(path, score=SCORE)
    assert_same(result, expected, exact=False)


def test_grey_and_16_bits(models, tmp_path):
    model = models[SEGMENTORS[0]]
    rng = np.random.default_rng(0)
    deep = rng.integers(0, 2**16, (50, 60), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / 'deep.png')
    grey = (deep // 256).astype(np.uint8)
    expected = model.predict(np.stack([grey] * 3, -1))
    with Image.open(tmp_path / 'deep.png') as image:
        for given in (
            *(tmp_path / 'deep.png', image, deep, deep[..., None]),
            *(np.stack([deep] * 3, -1), grey, Image.fromarray(grey)),
        ):
            assert_same(model.predict(given), expected)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation(models, images, tmp_path, orientation):
    """Files and Pillow's images are turned alike, and arrays are upright."""
    model = models[DETECTOR]
    with Image.open(images / 'a.png') as image:
        exif = image.getexif()
        exif[0x0112] = orientation
        image.save(tmp_path / 'turned.png', exif=exif.tobytes())
    path = tmp_path / 'turned.png'
    result = model.predict(path, score=SCORE)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
        assert_same(model.predict(image, score=SCORE), result)
    assert result.size == ((120, 90) if orientation < 5 else (90, 120))
    assert_same(model.predict(upright, score=SCORE), result)
    assert_array_equal(result.picture.read(), upright)


@pytest.mark.parametrize('name', ALL)
@pytest.mark.parametrize('batch_size', [2, 3, 8])
def test_batches_are_the_single_images(models, images, name, batch_size):
    model = models[name]
    paths = [images / 'a.png', images / 'b.jpg', images / 'more' / 'a.jpg']
    paths.append(images / 'b.jpg')
    expected = [model.predict(path, score=SCORE) for path in paths]
    results = model.predict(paths, score=SCORE, batch_size=batch_size)
    assert [result.path for result in results] == paths
    for result, single in zip(results, expected, strict=True):
        assert_same(result, single, exact=False)
    assert model.predict([]) == []


def test_detections_are_mmdets(models, work_dirs, images):
    from mmdet.apis import inference_detector, init_detector

    folder = work_dirs[DETECTOR]
    theirs = init_detector(
        str(folder / f'{DETECTOR}.py'),
        str(folder / 'epoch_3.pth'),
        device='cpu',
    )
    for path in (images / 'a.png', images / 'more' / 'a.jpg'):
        found = inference_detector(theirs, str(path)).pred_instances.numpy()
        order = np.argsort(-found.scores, kind='stable')
        ours = models[DETECTOR].predict(path, score=0.0)
        assert len(ours) == len(found.scores) > 3
        assert_array_equal(ours.scores, found.scores[order])
        assert_array_equal(ours.boxes, found.bboxes[order])
        assert_array_equal(ours.labels, found.labels[order])
        assert_array_equal(ours.masks, found.masks[order])
        assert ours.masks.shape == (len(ours), *ours.size[::-1])
        # A score keeps the first ones of these.
        middle = float(ours.scores[2])
        kept = models[DETECTOR].predict(path, score=middle)
        number = int((found.scores >= middle).sum())
        assert_array_equal(kept.boxes, ours.boxes[:number])


@pytest.mark.parametrize('name', SEGMENTORS)
def test_label_maps_are_mmsegs(models, work_dirs, images, name):
    from mmseg.apis import inference_model, init_model

    folder = work_dirs[name]
    checkpoint = str(folder / 'epoch_3.pth')
    # mmseg's own function reads `test_pipeline`.
    theirs = init_model(str(folder / f'{name}.py'), checkpoint, device='cpu')
    path = images / 'more' / 'a.jpg'
    found = inference_model(theirs, str(path))
    ours = models[name].predict(path)
    assert_array_equal(ours.labels, found.pred_sem_seg.data[0].numpy())
    assert ours.labels.dtype == np.uint8
    scores = found.seg_logits.data.softmax(0).amax(0)
    assert_allclose(ours.scores, scores, atol=1e-6)


def test_classes_are_mmpretrains(models, work_dirs, images):
    from mmpretrain.apis import ImageClassificationInferencer

    folder = work_dirs[CLASSIFIER]
    config = Config.fromfile(folder / f'{CLASSIFIER}.py')
    init_default_scope('mmpretrain')
    theirs = ImageClassificationInferencer(
        config, str(folder / 'epoch_3.pth'), device='cpu'
    )
    path = images / 'b.jpg'
    (found,) = theirs(str(path))
    ours = models[CLASSIFIER].predict(path)
    assert_array_equal(ours.scores, found['pred_scores'])
    assert (ours.label, ours.name) == (
        found['pred_label'],
        found['pred_class'],
    )
    assert ours.score == found['pred_score']


@pytest.mark.parametrize('name', ALL)
@pytest.mark.parametrize('size', [(3, 900), (900, 3), (1, 1), (2, 40)])
def test_thin_images(models, name, size):
    """They work, or the error names them."""
    image = np.full((*size, 3), 99, np.uint8)
    try:
        result = models[name].predict(image)
    except ImageError as error:
        assert f'{size[1]} x {size[0]} pixels' in str(error)
        assert 'Resize' in str(error)
        assert 900 in size
    else:
        assert result.size == size[::-1]


@pytest.mark.parametrize(
    ('image', 'words'),
    [
        (np.zeros((4, 5, 3), np.float32), ('float32', 'uint8')),
        (np.zeros((4, 5, 4), np.uint8), ('(4, 5, 4)', '[..., :3]')),
        (np.zeros((3, 40, 50), np.uint8), ('(3, 40, 50)', 'moveaxis')),
        (np.zeros((0, 5), np.uint8), ('(0, 5)',)),
        (np.zeros(7, np.uint8), ('(7,)',)),
        (Image.new('F', (4, 4)), ("'F'", 'uint8')),
        ('absent.png', ('absent.png', 'does not exist')),
        ('.', ('folder',)),
    ],
)
def test_images_that_are_refused(models, image, words):
    with pytest.raises(ImageError) as caught:
        models[CLASSIFIER].predict(image)
    assert all(word in str(caught.value) for word in words)


def test_other_types_are_refused(models):
    with pytest.raises(TypeError, match='Tensor'):
        models[CLASSIFIER].predict(torch.zeros(3, 4, 4))


@pytest.mark.parametrize(
    'image', ['a.png', np.zeros((4, 4, 3), np.uint8), Image.new('L', (4, 4))]
)
def test_each_of_a_single_image(models, image):
    with pytest.raises(TypeError, match='call predict'):
        models[CLASSIFIER].predict_each(image)


def test_broken_files(models, images, tmp_path):
    (tmp_path / 'text.png').write_text('no image')
    content = (images / 'b.jpg').read_bytes()
    (tmp_path / 'cut.jpg').write_bytes(content[: len(content) // 2])
    for name in ('text.png', 'cut.jpg'):
        with pytest.raises(ImageError, match=name):
            models[DETECTOR].predict(tmp_path / name)
        with Image.open(images / 'a.png') as good:
            given = [good, tmp_path / name, good]
            kinds = [
                type(result)
                for result in models[DETECTOR].predict_each(
                    given, batch_size=2
                )
            ]
        assert kinds == [Detections, ImageError, Detections]


@pytest.mark.parametrize(
    'options', [dict(score=1.5), dict(score=-1), dict(batch_size=0)]
)
def test_arguments_out_of_range(models, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        models[DETECTOR].predict(np.zeros((9, 9), np.uint8), **options)
