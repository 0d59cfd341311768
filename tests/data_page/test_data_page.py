# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The page about data, and the whole check, on every layout."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from write_layouts import CLASSES, COLORS, WRITERS, save, write_coco

from ivit.annotations import AnnotatedData, ClassificationSplit
from ivit.annotations.checks import check
from ivit.annotations.recognise import read_folder
from ivit.data_page import make_data_page
from ivit.data_page.pictures import draw_pictures
from ivit.palette import make_palette


class Page(HTMLParser):
    """The words, links, tags and rows of tables of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.links, self.rows = [], [], []
        self.words, self.labels = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ('src', 'href')]
        self.labels += [v for k, v in attrs if k == 'aria-label']
        if tag == 'tr':
            self.rows.append([])

    def handle_data(self, data):
        self.words.append(data)
        if self.rows and data.strip():
            self.rows[-1].append(data)


def pictured_colors(link):
    """The colours of a picture in a link, but for noise."""
    content = base64.b64decode(link.partition(',')[2])
    return Image.open(io.BytesIO(content)).convert('RGB')


@pytest.mark.slow
@pytest.mark.parametrize('name', WRITERS)
def test_every_layout(name, root, scenes):
    WRITERS[name](root, scenes)
    data = read_folder(root)
    check(data, quick=False)
    assert data.faults.errors == []
    page = Page(make_data_page(data))
    shown = sum(len(split) for split in data.splits.values())
    assert len([x for x in page.labels if x != 'Classes']) == shown
    assert {'script', 'link'}.isdisjoint(page.tags)
    assert all(re.match(r'data:image/[a-z+]+;base64,', x) for x in page.links)
    text = ' '.join(page.words)
    for label in data.classes:
        assert label in text
    assert data.layout in text
    for split in data.splits:
        assert f'{split}: ' in text
    for note in data.notes:
        assert note in page.words


def test_counts_and_names_of_objects(root, scenes):
    write_coco(root, scenes)
    page = Page(make_data_page(read_folder(root)))
    members = scenes['train']
    for index, label in enumerate(CLASSES):
        (row,) = (r for r in page.rows if r[0] == label)
        objects = sum(scene.labels.count(index) for scene in members)
        images = sum(index in scene.labels for scene in members)
        assert row[1:3] == [f'{images:,}', f'{objects:,}']
    joint = [s for split in scenes.values() for s in split]
    total = sum(len(scene.labels) for scene in joint)
    assert page.tags.count('path') == total
    assert page.tags.count('text') == total


def test_faults(root, scenes):
    write_coco(root, scenes)
    data = read_folder(root)
    coco = data.splits['train'].coco
    coco['annotations'][0]['bbox'] = ['<b>', 2, 3, 4]
    coco['annotations'][1]['segmentation'] = []
    coco['annotations'][2]['segmentation'] = [[1, 2, 3]]
    data.splits['train'].images[2].unlink()
    data.splits['train'].images[3].write_bytes(b'no image')
    check(data, quick=False)
    page = Page(make_data_page(data))
    rows = {tuple(row[:2]): row[2:] for row in page.rows}
    for fault in data.faults:
        shown = rows[fault.kind.level, fault.kind.text]
        # Behind the last row of a table come other words.
        assert shown[:3] == [
            str(fault.count),
            fault.first,
            fault.kind.remedy,
        ]
    levels = [r[0] for r in page.rows if r and r[0] in ('error', 'warning')]
    assert levels == sorted(levels)
    assert 'b' not in page.tags
    # Two of the images cannot be shown.
    shown = sum(len(split) for split in data.splits.values()) - 2
    assert len([x for x in page.labels if x != 'Classes']) == shown


def test_without_objects(root, scenes):
    write_coco(root, scenes)
    data = read_folder(root)
    for split in data.splits.values():
        split.coco['annotations'] = []
    check(data, quick=False)
    page = Page(make_data_page(data))
    assert 'svg' not in page.tags


def test_pictures_are_few_and_always_the_same(tmp_path):
    splits = {}
    for name, number in (('train', 40), ('val', 30), ('test', 2)):
        paths = [tmp_path / name / f'{i}.png' for i in range(number)]
        for path in paths:
            save(np.zeros((4, 4, 3), np.uint8), path)
        splits[name] = ClassificationSplit(
            tmp_path / name, [(path, 0) for path in paths]
        )
    data = AnnotatedData(
        tmp_path, 'class folders', 'classification', ('a',), splits
    )
    pictures = draw_pictures(data, make_palette(1), 24)
    lines = [picture.line for picture in pictures]
    assert lines.count('train: a') == 16
    assert lines.count('val: a') == 4
    assert lines.count('test: a') == 2
    assert pictures == draw_pictures(data, make_palette(1), 24)
    del data.splits['val'], data.splits['test']
    assert len(draw_pictures(data, make_palette(1), 24)) == 24


def test_large_images_are_embedded_small(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (1500, 2000, 3))
    path = save(noise.astype(np.uint8), tmp_path / 'a.bmp')
    split = ClassificationSplit(tmp_path, [(path, 0)])
    data = AnnotatedData(
        tmp_path, 'class folders', 'classification', ('a',), {'train': split}
    )
    page = Page(make_data_page(data))
    (link,) = (x for x in page.links if 'svg' not in x)
    assert pictured_colors(link).size == (640, 480)


def test_own_colors_are_kept(root, scenes):
    WRITERS['voc masks'](root, scenes)
    data = read_folder(root)
    html = make_data_page(data)
    for color in COLORS[1:]:
        assert f'rgb{color}' in html


def test_palette():
    palette = make_palette(30)
    assert len(set(palette)) == 30
    assert all(0 <= part <= 255 for color in palette for part in color)
    distances = [
        np.abs(np.subtract(one, other)).sum()
        for one, other in zip(palette, palette[1:], strict=False)
    ]
    assert min(distances) > 60
