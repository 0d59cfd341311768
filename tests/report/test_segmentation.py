# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image
from report_cases import Data, Model, Page, make_images, make_runner

pytest.importorskip('mmseg')

from ivit.report import History
from ivit.report.segmentation import (
    Areas,
    LabelMaps,
    count_pixels,
    headline,
    make_sections,
)
from ivit.report.validation import ValidationImages

CLASSES = ('sky', 'road', 'rare', 'absent')
HISTORY = History(
    [], [{'aAcc': 81.2, 'mIoU': 45.678, 'mAcc': 60.0, 'step': 9}], 'iteration'
)


def random_maps(rng, size=(7, 9)):
    truth = rng.choice([0, 1, 2, 255], size, p=[0.5, 0.3, 0.1, 0.1])
    prediction = np.where(rng.random(size) < 0.7, truth, 1)
    prediction[prediction == 255] = 0
    return dict(size=size, label_map=truth, predicted=prediction)


def naive_metrics(infos):
    """IoU, accuracy and confusion in float64, pixel by pixel."""
    counts = np.zeros((4, 4))
    for info in infos:
        pairs = zip(
            info['label_map'].flat, info['predicted'].flat, strict=True
        )
        for truth, prediction in pairs:
            if truth != 255:
                counts[truth, prediction] += 1
    right = counts.diagonal()
    with np.errstate(invalid='ignore'):
        iou = right / (counts.sum(0) + counts.sum(1) - right)
        return iou, right / counts.sum(1), counts


def as_maps(info):
    return LabelMaps(
        None,
        torch.as_tensor(info['label_map']),
        torch.as_tensor(info['predicted']),
    )


def test_areas_and_pixels():
    rng = np.random.default_rng(0)
    infos = [random_maps(rng, (5 + i, 8)) for i in range(6)]
    iou, accuracy, counts = naive_metrics(infos)
    maps = [as_maps(info) for info in infos]
    areas = [Areas.of(one, 4, 255) for one in maps]
    total = sum(areas[1:], areas[0])
    metrics = total.by_class()
    np.testing.assert_allclose(metrics['IoU'], iou, rtol=1e-12)
    np.testing.assert_allclose(metrics['Acc'], accuracy, rtol=1e-12)
    assert np.isnan(metrics['IoU'][3])
    found = sum(count_pixels(one, 4, 255) for one in maps)
    assert (found == counts).all()
    for info, area in zip(infos, areas, strict=True):
        own = naive_metrics([info])
        present = own[2].sum(1) > 0
        assert area.mean_iou() == pytest.approx(own[0][present].mean())


def test_many_pixels_are_counted_one_by_one():
    one = Areas(*torch.tensor([[2.0**24], [1], [1], [1]]).double())
    assert (one + Areas(*[torch.ones(1).double()] * 4)).intersection == (
        2**24 + 1
    )


def test_nothing_annotated():
    ignored = torch.full((3, 3), 255)
    maps = LabelMaps(None, ignored, torch.zeros(3, 3, dtype=torch.long))
    assert np.isnan(Areas.of(maps, 4, 255).mean_iou())
    assert count_pixels(maps, 4, 255).sum() == 0


def pixels(link):
    content = base64.b64decode(link.split(',')[1])
    return np.asarray(Image.open(io.BytesIO(content)).convert('RGBA'))


def test_sections(tmp_path):
    rng = np.random.default_rng(1)
    infos = [random_maps(rng, (6, 8 + i)) for i in range(5)]
    for info in infos:
        info['label_map'][0, 0] = 255
    perfect = np.where(infos[2]['label_map'] == 255, 0, infos[2]['label_map'])
    infos[2]['predicted'] = perfect
    infos[4]['predicted'] = np.full((6, 12), 3)  # worst
    infos.append(dict(size=(4, 4), label_map=np.full((4, 4), 255)))
    infos[5]['predicted'] = np.zeros((4, 4), int)
    images = make_images(tmp_path, CLASSES, infos)
    sections = {s.heading: s for s in make_sections(images, HISTORY)}
    assert list(sections) == [
        'Metrics',
        'Training',
        'Confusion matrix',
        'Worst images',
        'Ground truth and prediction',
    ]
    iou, accuracy, counts = naive_metrics(infos)
    logged, classes = Page(sections['Metrics'].html()).tables
    assert ['mIoU', '45.68'] in logged
    shares = counts.sum(1) / counts.sum()
    for i, name in enumerate(CLASSES):
        row = [100 * x[i] for x in (iou, accuracy, shares)]
        shown = ['n/a' if np.isnan(x) else f'{x:.2f}' for x in row]
        assert classes[i + 1] == [name, *shown]

    own = [naive_metrics([info]) for info in infos[:5]]
    scores = [x[0][x[2].sum(1) > 0].mean() for x in own]
    order = [i for i in np.argsort(scores, kind='stable') if scores[i] < 1]
    assert order[0] == 4
    assert 2 not in order  # perfect
    page = Page(sections['Worst images'].html())
    assert re.findall(r'\d{3}(?=\.png)', page.text) == [
        f'{i:03d}' for i in order
    ]
    assert f'mean IoU {100 * scores[4]:.2f} %' in page.text
    truth = pixels(page.links[1])
    assert truth.shape == (6, 12, 4)
    assert truth[0, 0, 3] == 0  # ignored
    known = infos[4]['label_map'] != 255
    assert (truth[known, 3] > 0).all()
    palette = np.array(images.palette)
    labels = infos[4]['label_map'][known]
    assert (truth[known, :3] == palette[labels]).all()

    even = Page(sections['Ground truth and prediction'].html())
    assert even.tags.count('svg') == 12
    assert 'mean IoU n/a' in even.text


def test_all_right(tmp_path):
    right = np.zeros((4, 4), int)
    infos = [dict(size=(4, 4), label_map=right, predicted=right)]
    images = make_images(tmp_path, ('only',), infos)
    sections = {s.heading: s for s in make_sections(images, HISTORY)}
    assert 'None of all 1 validation images' in sections['Worst images'].text
    assert sections['Worst images'].body == ''
    table = Page(sections['Metrics'].html()).tables[1]
    assert table[1:] == [['only', '100.00', '100.00', '100.00']]


def test_headline():
    assert headline(HISTORY) == {
        'mIoU, %': '45.68',
        'mAcc, %': '60.00',
        'aAcc, %': '81.20',
    }
    assert headline(History([], [])) == {'mIoU, %': 'n/a'}


@pytest.mark.parametrize(
    ('label_map', 'message'),
    [(None, 'needs LoadAnnotations'), (np.zeros((8, 8)), 'after Resize')],
)
def test_pipeline_without_fitting_label_maps(tmp_path, label_map, message):
    info = dict(size=(4, 4), predicted=np.zeros((4, 4), int))
    if label_map is not None:
        info['label_map'] = label_map
    data = Data(tmp_path, CLASSES, [info])
    images = ValidationImages(make_runner(data, Model([info])))
    with pytest.raises(ValueError, match=message) as error:
        make_sections(images, HISTORY)
    assert '000.png' in str(error.value)
