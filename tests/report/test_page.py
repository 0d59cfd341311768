# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivit.report import History, Instances, Sample, build_page, write_page

CLASSES = ('circle', 'cross')
PALETTE = [(230, 60, 60), (60, 180, 75)]
NAMES = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
BOX = dict(zip(NAMES, (0.411, 0.722, 0.433, 0.144, 0.455, -1), strict=True))
MASK = dict(zip(NAMES, (0.366, 0.677, 0.388, 0.199, -1.0, -1), strict=True))
VOID = {'meta', 'img', 'br', 'link', 'hr', 'input'}


class Page(HTMLParser):
    """Checks that elements are closed, and keeps what the tests ask for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.tables, self.tags = [], [], [], []
        self.text = ''
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self._element(tag, attrs)

    def handle_startendtag(self, tag, attrs):
        self._element(tag, attrs)

    def _element(self, tag, attrs):
        self.tags.append(tag)
        wanted = ('src', 'href', 'xlink:href', 'srcset', 'data', 'poster')
        self.links += [value for name, value in attrs if name in wanted]
        if tag == 'table':
            self.tables.append([])
        if tag == 'tr':
            self.tables[-1].append([])
        if tag in ('td', 'th'):
            self.tables[-1][-1].append('')

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ('td', 'th'):
            self.tables[-1][-1][-1] += data
        elif self.open and self.open[-1] != 'style':
            self.text += f' {data}'


def write_scalars(folder, epochs=3):
    records = []
    for epoch in range(1, epochs + 1):
        records += [
            {
                'loss': 3 / step,
                'loss_rpn_cls': 1 / step,
                'loss_mask': 2 / step,
                'lr': 0.001,
                'step': step,
            }
            for step in range(epoch * 10, epoch * 10 + 10)
        ]
        share = epoch / epochs
        metrics = {
            f'coco/{kind}_{name}': value if value < 0 else share * value
            for kind, values in (('bbox', BOX), ('segm', MASK))
            for name, value in values.items()
        }
        metrics['coco/circle_precision'] = 0.512 * share
        records.append({**metrics, 'step': epoch})
    (folder / 'vis_data').mkdir(parents=True)
    lines = [json.dumps(record) + '\n' for record in records]
    (folder / 'vis_data' / 'scalars.json').write_text(''.join(lines))


def make_samples(folder, number=12):
    samples = []
    for i in range(number):
        path = folder / f'{i:03d}.jpg'
        Image.new('RGB', (64, 64), (5 * i, 90, 120)).save(path)
        masks = np.zeros((2, 64, 64), bool)
        masks[0, 5:25, 8:30] = masks[1, 30:50, 30:60] = True
        boxes = np.array([[8, 5, 30, 25], [30, 30, 60, 50]], float)
        truth = Instances(boxes, masks, [0, 1])
        found = Instances(boxes[:1], masks[:1], [0], [0.75])
        samples.append(Sample(path, truth, found))
    return samples


@pytest.fixture
def page(tmp_path):
    def build(epochs=3, facts=None):
        write_scalars(tmp_path / 'run', epochs)
        history = History.read(tmp_path / 'run')
        facts = facts or {'Versions': {'torch': '2.11.0'}}
        samples = make_samples(tmp_path)
        return build_page(history, samples, facts, CLASSES, PALETTE)

    return build


def test_tables(page):
    metrics, classes = Page(page()).tables
    head = ['', 'AP', 'AP50', 'AP75', 'AP small', 'AP medium']
    assert metrics == [
        head,
        ['Box', '0.411', '0.722', '0.433', '0.144', '0.455'],
        ['Mask', '0.366', '0.677', '0.388', '0.199', 'n/a'],
    ]
    assert classes == [['', *CLASSES], ['Box AP', '0.512', 'n/a']]


def test_pictures(page):
    text = page()
    parsed = Page(text)
    assert parsed.tags.count('svg') == 24  # ground truth and prediction
    assert parsed.text.count('Ground truth') == 12 + 1  # and the heading
    assert parsed.text.count(' 2 objects') == 12
    assert parsed.text.count(' 1 detection') == 12
    assert parsed.text.count(' circle 0.75') == 12
    jpegs = [link for link in parsed.links if 'image/jpeg' in link]
    assert len(jpegs) == 24
    for link in jpegs:
        image = Image.open(io.BytesIO(base64.b64decode(link.split(',')[1])))
        assert image.size == (64, 64)
    for i in range(12):
        assert f' {i:03d}.jpg' in parsed.text


def test_nothing_comes_from_outside(page):
    text = page()
    parsed = Page(text)
    assert len(parsed.links) == 24 + 3  # images and curves
    assert all(
        re.match(r'data:image/[a-z+]+;base64,', x) for x in parsed.links
    )
    assert 'script' not in parsed.tags
    assert 'link' not in parsed.tags
    assert not re.search(r'url\(|@import', text)


@pytest.mark.parametrize('epochs', [1, 3])
def test_curves(page, epochs):
    links = [link for link in Page(page(epochs)).links if 'svg+xml' in link]
    assert len(links) == 3
    for link in links:
        svg = base64.b64decode(link.split(',')[1]).decode()
        assert svg.rstrip().endswith('</svg>')
        assert not re.search(r'(src|href)="(?!#)', svg)


def test_without_any_record():
    text = build_page(History([], []), [], {}, CLASSES, PALETTE)
    parsed = Page(text)
    assert parsed.links == []
    assert {cell for row in parsed.tables[0][1:] for cell in row[1:]} == {
        'n/a'
    }


def test_facts_are_escaped(page):
    facts = {'<Time>': {'a & b': '<script>1</script>'}}
    parsed = Page(page(facts=facts))
    assert 'script' not in parsed.tags
    for text in ('<Time>', 'a & b', '<script>1</script>'):
        assert f' {text}' in parsed.text


def test_says_what_the_numbers_are(page):
    said = ' '.join(Page(page()).text.split())
    assert 'they are not COCO results' in said
    assert 'Detections that score less than 0.5 are not drawn' in said
    assert '12 images at even intervals' in said


def test_the_file_is_whole_or_as_before(tmp_path, monkeypatch):
    path = tmp_path / 'report.html'
    write_page('first', path)
    write_page('second', path)
    assert path.read_text() == 'second'

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, 'replace', interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_page('third', path)
    assert path.read_text() == 'second'
    assert list(tmp_path.iterdir()) == [path]
