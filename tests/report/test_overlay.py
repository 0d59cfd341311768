# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import base64
import io
import itertools
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from ivit.report.instances import Instances
from ivit.report.overlay import (
    draw_image,
    draw_instances,
    draw_label_map,
    embed_image,
    outline,
)

PALETTE = [(230, 60, 60), (255, 200, 25)]


def signed_area(polygon):
    x, y = polygon.T
    return (x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag, **wanted):
        return [
            attrs
            for name, attrs in self.found
            if name == tag and wanted.items() <= attrs.items()
        ]


@pytest.fixture
def draw(tmp_path):
    def run(
        boxes,
        size=128,
        scores=None,
        classes=('circle', 'ring'),
        with_masks=True,
        wrong=(),
    ):
        path = tmp_path / 'image.png'
        Image.new('RGB', (size, size)).save(path)
        masks = np.zeros((len(boxes), size, size), np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
            mask[y1:y2, x1:x2] = 1
        rles = [coco_mask.encode(np.asfortranarray(mask)) for mask in masks]
        labels = [i % 2 for i in range(len(boxes))]
        instances = Instances(
            np.array(boxes, float).reshape(-1, 4),
            labels,
            scores,
            rles if with_masks else None,
        )
        svg = draw_instances(
            *(path, (size, size), instances, classes, PALETTE),
            title='a "title"',
            wrong=wrong,
        )
        return Elements(svg)

    return run


def test_outline_of_a_ring_at_the_border():
    y, x = np.mgrid[:64, :64]
    distance = np.hypot(x - 40, y - 32)
    mask = (distance < 30) & (distance > 12)  # cut off by the right border
    polygons = outline(mask)
    assert len(polygons) == 2
    area = abs(sum(signed_area(polygon) for polygon in polygons))
    assert area == pytest.approx(mask.sum(), rel=0.02)
    points = np.concatenate(polygons)
    assert points.min() >= 0
    assert points.max() <= 64.0
    ys, xs = np.nonzero(mask)
    corners = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    found = [*points.min(0), *points.max(0)]
    assert np.abs(np.subtract(found, corners)).max() <= 0.5


def test_boxes_names_and_scores(draw):
    elements = draw([[10, 20, 40, 60], [70, 70, 90, 100]], scores=[0.987, 0.5])
    assert elements.texts == ['ring 0.50', 'circle 0.99']  # best one on top
    for color, box in (('#e63c3c', '10 20 30 40'), ('#ffc819', '70 70 20 30')):
        (frame,) = elements.all('rect', stroke=color)
        shown = [frame[k] for k in ('x', 'y', 'width', 'height')]
        assert list(map(float, shown)) == list(map(float, box.split()))
        (path,) = elements.all('path', fill=color)
        assert re.fullmatch(r'(M[\d.,L]+Z)+', path['d'])


def test_labels_keep_apart_and_inside(draw):
    boxes = [[50, 40, 80, 70]] * 4 + [[100, 0, 128, 28], [0, 100, 28, 128]]
    elements = draw(boxes, scores=[0.9] * 6)
    tags = [
        [float(tag[k]) for k in ('x', 'y', 'width', 'height')]
        for tag in elements.all('rect', **{'class': 'tag'})
    ]
    assert len(tags) == 6
    for x, y, width, height in tags:
        assert 0 <= x <= 128 - width + 0.1
        assert 0 <= y <= 128 - height + 0.1
    for a, b in itertools.combinations(tags, 2):
        across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
        down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
        assert min(across, down) <= 0.11  # coordinates have one digit


def test_larger_images_have_letters_of_the_same_size(draw):
    small = draw([[16, 16, 64, 64]])
    large = draw([[32, 32, 128, 128]], size=256)
    assert small.all('svg')[0]['viewbox'] == large.all('svg')[0]['viewbox']
    assert small.all('rect') == large.all('rect')
    assert small.all('text') == large.all('text')


def test_nothing_detected(draw):
    elements = draw([], scores=[])
    assert not elements.all('rect')
    assert elements.all('image')


def test_escaping(draw):
    elements = draw([[8, 8, 30, 30]], classes=['<b>&', 'ring'])
    assert elements.texts == ['<b>&']
    assert not elements.all('b')
    assert elements.all('svg')[0]['aria-label'] == 'a "title"'


def test_boxes_alone(draw):
    elements = draw([[10, 20, 40, 60], [70, 70, 90, 100]], with_masks=False)
    assert not elements.all('path')
    assert len(elements.all('rect', **{'class': 'halo'})) == 2


def test_mistakes_are_dashed(draw):
    elements = draw([[10, 20, 40, 60], [70, 70, 90, 100]], wrong={1})
    (dashed,) = (x for x in elements.all('rect') if 'stroke-dasharray' in x)
    assert dashed['stroke'] == '#ffc819'


@pytest.mark.parametrize('name', ['長い名前' * 9, 'a long name ' * 9])
def test_long_names_stay_inside(draw, name):
    elements = draw([[60, 60, 90, 90]], classes=(name, 'ring'))
    (tag,) = elements.all('rect', **{'class': 'tag'})
    assert float(tag['x']) >= 0
    assert float(tag['x']) + float(tag['width']) <= 128
    assert elements.texts[0].endswith('…')
    assert name.startswith(elements.texts[0][:-1])


def test_outline_of_nothing():
    assert outline(np.zeros((5, 5), bool)) == []


def decode(link):
    kind, data = re.fullmatch(r'data:image/(\w+);base64,(.*)', link).groups()
    return kind, Image.open(io.BytesIO(base64.b64decode(data)))


def test_small_files_are_embedded_as_they_are(tmp_path):
    path = tmp_path / 'a.png'
    Image.new('RGB', (50, 20)).save(path)
    assert base64.b64decode(embed_image(path).split(',')[1]) == (
        path.read_bytes()
    )


@pytest.mark.parametrize(
    ('name', 'mode', 'size'),
    [
        ('large.jpg', 'RGB', (1600, 400)),
        ('other.tif', 'RGB', (60, 30)),
        ('palette.bmp', 'P', (60, 30)),
        ('deep.tiff', 'I;16', (60, 30)),
        ('see-through.png', 'RGBA', (400, 1600)),
    ],
)
def test_other_files_become_small_jpegs(tmp_path, name, mode, size):
    path = tmp_path / name
    Image.new(mode, size).save(path)
    kind, image = decode(embed_image(path))
    assert kind == 'jpeg'
    assert max(image.size) <= 640
    assert image.width * size[1] == image.height * size[0]


def test_large_photos_are_upright(tmp_path):
    path = tmp_path / 'photo.jpg'
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new('RGB', (1600, 800)).save(path, exif=exif)
    _, image = decode(embed_image(path))
    assert image.size == (320, 640)
    (svg,) = Elements(draw_image(path, 'photo')).all('svg')
    assert svg['viewbox'] == '0 0 64 128'


def test_label_map(tmp_path):
    path = tmp_path / 'a.png'
    Image.new('RGB', (3, 2)).save(path)
    label_map = np.array([[0, 1, 1], [-1, 255, 0]])
    elements = Elements(draw_label_map(path, label_map, PALETTE, 'a title'))
    photo, overlay = elements.all('image')
    assert overlay['class'] == 'map'
    _, image = decode(overlay['href'])
    pixels = np.asarray(image)
    assert (pixels[label_map == 0, :3] == PALETTE[0]).all()
    assert (pixels[label_map == 1, :3] == PALETTE[1]).all()
    alphas = pixels[..., 3]
    assert ((alphas > 0) == [[True] * 3, [False, False, True]]).all()


def test_large_label_maps_keep_their_colours(tmp_path):
    path = tmp_path / 'a.png'
    Image.new('RGB', (1300, 650)).save(path)
    label_map = np.random.default_rng(0).integers(0, 2, (650, 1300))
    elements = Elements(draw_label_map(path, label_map, PALETTE, 'a title'))
    _, image = decode(elements.all('image')[1]['href'])
    assert image.size == (640, 320)
    colors = {color[:3] for _, color in image.getcolors()}
    assert colors == set(PALETTE)


def test_a_black_class_leaves_the_image_as_it_is(tmp_path):
    path = tmp_path / 'a.png'
    Image.new('RGB', (2, 1)).save(path)
    palette = [(0, 0, 0), (255, 200, 25)]
    elements = Elements(
        draw_label_map(path, np.array([[0, 1]]), palette, 'a title')
    )
    _, image = decode(elements.all('image')[1]['href'])
    assert (np.asarray(image)[0, :, 3] > 0).tolist() == [False, True]
