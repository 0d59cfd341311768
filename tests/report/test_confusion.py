# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import base64
import warnings
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from report_cases import Page

from ivit.report.confusion import (
    confusion_section,
    draw_confusion,
    list_confusions,
)

TEXT = '{http://www.w3.org/2000/svg}text'


def texts(svg):
    return [''.join(node.itertext()) for node in ET.fromstring(svg).iter(TEXT)]


def test_cells_are_shares_of_rows():
    counts = np.array([[30, 10, 0], [1, 1999, 0], [0, 0, 0]])
    found = texts(draw_confusion(counts, ['cat', 'dog', 'background']))
    assert [x for x in found if x in ('75', '25', '<0.1', '100')] == [
        *('75', '25'),
        *('<0.1', '100'),
    ]
    assert {'cat (40)', 'dog (2,000)', 'background (0)'} <= set(found)


@pytest.mark.parametrize('name', ['猫の写真', 'кошка', 'a$x^2$ & <b>', 'ق'])
def test_names_in_any_script(name):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = texts(draw_confusion(np.eye(2, dtype=int), [name, 'b']))
    assert name in found
    assert f'{name} (1)' in found


def test_long_names_are_shortened():
    name = f'{"long" * 20} end'
    found = texts(draw_confusion(np.eye(2, dtype=int), [name, 'b']))
    (short,) = (text for text in found if text.endswith('end'))
    assert len(short) < 30
    assert short.startswith('longlong')


@pytest.mark.parametrize('classes', [1, 2, 20, 40])
def test_drawn(classes):
    names = [f'class {i}' for i in range(classes)]
    counts = np.eye(classes, dtype=int)
    section = confusion_section(counts, names, classes, 'Pixels.')
    page = Page(section.html())
    assert page.tables == []
    (link,) = page.links
    found = texts(base64.b64decode(link.split(',')[1]))
    assert set(names) <= set(found)
    assert found.count('100') == (classes if classes <= 20 else 0)


def test_largest_confusions_of_many_classes():
    counts = 100 * np.eye(41, dtype=int)
    counts[3, 7], counts[40, 0] = 60, 25
    names = [f'class {i}' for i in range(41)]
    section = confusion_section(counts, names, 41, 'Pixels.')
    page = Page(section.html())
    assert page.links == []
    assert page.tables[0][1:] == [
        ['class 3', 'class 7', '60', '37.5%'],
        ['class 40', 'class 0', '25', '20.0%'],
    ]


def test_no_more_than_asked_for():
    counts = np.arange(36).reshape(6, 6)
    found = list_confusions(counts, 3)
    assert [counts[i, j] for i, j, _ in found] == [34, 33, 32]
    assert found[0][2] == 34 / counts[5].sum()
    assert list_confusions(np.eye(3, dtype=int)) == []
