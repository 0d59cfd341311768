# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import itertools
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from ivit.report import Instances
from ivit.report.overlay import draw_instances, outline

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
    def run(boxes, size=128, scores=None, classes=('circle', 'ring')):
        path = tmp_path / 'image.png'
        Image.new('RGB', (size, size)).save(path)
        masks = np.zeros((len(boxes), size, size), bool)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
            mask[y1:y2, x1:x2] = True
        labels = [i % 2 for i in range(len(boxes))]
        instances = Instances(np.array(boxes, float), masks, labels, scores)
        svg = draw_instances(path, instances, classes, PALETTE, 'a "title"')
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
