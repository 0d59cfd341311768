# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Numbers over seeds, tables and pictures."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from ivit.studies import summary


def test_mean_and_std():
    values = [0.25, 1.5, -3.0, 7.0]
    mean, std = summary.mean_std(values)
    assert mean == pytest.approx(np.mean(values), abs=1e-12)
    assert std == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    assert summary.mean_std([2.0]) == (2.0, None)


def test_shown():
    assert summary.shown([1.0, 2.0, 3.0]) == '2.0 ± 1.0'
    assert summary.shown([1.0, 2.0], digits=2, signed=True) == '+1.50 ± 0.71'
    assert summary.shown([-1.25], digits=2, signed=True) == '-1.25'


def test_table():
    assert summary.markdown_table(['name', 'AP'], [['a', 1], ['b', '2']]) == (
        '| name | AP |\n| --- | --- |\n| a | 1 |\n| b | 2 |\n'
    )


def test_files(tmp_path):
    summary.write_results(tmp_path, {'gain': [1.5]}, '| a |\n')
    stored = json.loads((tmp_path / 'results.json').read_text())
    assert stored['gain'] == [1.5]
    assert f'torch {torch.__version__}' in stored['machine']
    table = (tmp_path / 'table.md').read_text()
    assert table == f'| a |\n\n{stored["machine"]}\n'


def test_plot(tmp_path):
    path = tmp_path / 'plot.png'
    groups = {
        'one': {'scratch': [1.0, 2.0, 3.0], 'pre-trained': [4.0, 5.0, 9.0]},
        'two': {'scratch': [2.0]},
    }
    with summary.figure(2, path) as (left, right):
        summary.draw_groups(left, groups, 'box AP')
        summary.draw_groups(right, {'a': {'': [1.0]}}, 'mIoU')
    with Image.open(path) as picture:
        assert picture.format == 'PNG'
        assert picture.width > 1000
    # Means as lines, seeds as dots.
    lines = [line.get_ydata().tolist() for line in left.get_lines()]
    for values in ([2.0, 2.0], [6.0, 6.0], [1.0, 2.0, 3.0], [4.0, 5.0, 9.0]):
        assert values in lines
    names = [text.get_text() for text in left.get_legend().get_texts()]
    assert names == ['scratch', 'pre-trained']
    assert right.get_legend() is None
    assert [t.get_text() for t in left.get_xticklabels()] == ['one', 'two']
