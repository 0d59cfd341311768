# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The attention study: its grid, its costs, its table and picture."""

import copy
import json
from pathlib import Path

import pytest
from mmengine.config import Config
from PIL import Image

from ivit.attention import FocusedLinearAttention, InteractiveAttention
from ivit.backbones import PlainViT
from ivit.studies import attention, cost

ROOT = Path(__file__).resolve().parents[2]
NAMES = [
    'softmax',
    'decomposed only',
    'interaction only',
    'iMHSA',
    'plain linear',
    'focused, no DWC',
    'focused',
]


def test_runs_differ_in_attention_and_seed_alone():
    path = ROOT / 'configs' / f'{attention.CONFIG}.py'
    base = Config.fromfile(path, import_custom_modules=False)
    runs = attention.list_runs((3, 5))
    assert len({run.name for run in runs}) == len(runs) == 14
    trained, attentions = [], []
    for i, run in enumerate(runs):
        assert run.config == attention.CONFIG
        cfg = copy.deepcopy(base)
        cfg.merge_from_dict(dict(run.options))
        assert cfg.randomness.seed == (3, 5)[i // 7]
        attentions.append(cfg.model.backbone.pop('attention').to_dict())
        cfg.pop('randomness')
        trained.append(cfg.to_dict())
    assert all(cfg == trained[0] for cfg in trained)
    assert attentions[:7] == attentions[7:]
    assert attentions[:7] == list(attention.ATTENTIONS.values())


def test_attentions_are_what_they_are_called():
    attentions = {
        name: PlainViT('n', options, img_size=128).blocks[0].attn
        for name, options in attention.ATTENTIONS.items()
    }
    assert list(attentions) == NAMES
    interactive = {
        name: (attn.decomposed, attn.interaction)
        for name, attn in attentions.items()
        if isinstance(attn, InteractiveAttention)
    }
    assert interactive == {
        'softmax': (False, None),
        'decomposed only': (True, None),
        'interaction only': (False, 'both'),
        'iMHSA': (True, 'both'),
    }
    focused = {
        name: (attn.focusing_factor, attn.dwc is not None)
        for name, attn in attentions.items()
        if isinstance(attn, FocusedLinearAttention)
    }
    assert focused == {
        'plain linear': (1, False),
        'focused, no DWC': (3, False),
        'focused': (3, True),
    }


def test_parameters():
    """4 blocks of 64 channels in 2 heads on 8 x 8 cells."""
    projections = 4 * (64 * 192 + 192 + 64 * 64 + 64)
    mixers = 4 * (4 + 4 + 2)  # before and, with bias, after the softmax
    tables = 4 * (64 * 64 + 64)  # position and scale
    kernels = 4 * (32 * 25 + 32)
    expected = dict(
        zip(NAMES, (0, 0, mixers, 2 * mixers, tables, tables), strict=False)
    )
    expected['focused'] = tables + kernels
    backbone = attention._backbone()
    for name, options in attention.ATTENTIONS.items():
        count = attention.count_parameters({**backbone, 'attention': options})
        assert count == projections + expected[name], name


@pytest.fixture
def measure(tmp_path, monkeypatch):
    """Measure two small attentions; memory is not, for it takes a process."""
    names = cost.compare.__globals__
    monkeypatch.setitem(names, 'peak_bytes', lambda *_: 2**21)

    def measure(*loads, arch=None, names=('softmax', 'focused'), fail=False):
        if fail:
            monkeypatch.delattr(cost, 'compare', raising=False)
        return cost.measure_costs(
            tmp_path / 'costs.json',
            {name: attention.ATTENTIONS[name] for name in names},
            {'arch': arch or dict(dim=8, depth=1, num_heads=2)},
            tuple(cost.Load(*load) for load in loads),
        )

    return measure


def test_costs(measure, tmp_path):
    (first,) = measure((32, 2, 3))
    assert first['title'] == '32 x 32, batch 2'
    assert first['setting']['train']
    assert first['setting']['batch'] == 2
    assert [row['name'] for row in first['rows']] == ['softmax', 'focused']
    for row in first['rows']:
        assert len(row['seconds']) == 3
        assert min(row['seconds']) > 0
        assert row['peak'] == 2**21
    assert first['rows'][0]['speed'] == 1
    # Another load is added; what is in the file is not measured again.
    both = measure((32, 2, 3), (48, 1, 3))
    assert both[0] == first
    assert both[1]['title'] == '48 x 48, batch 1'
    assert measure((48, 1, 3), (32, 2, 3), fail=True) == both[::-1]
    stored = (tmp_path / 'costs.json').read_text()
    with pytest.raises(ValueError, match=r'costs\.json has .*Remove it'):
        measure((32, 2, 3), arch='n', fail=True)
    assert (tmp_path / 'costs.json').read_text() == stored


def made_up():
    """Rows of seven attentions and costs at two sizes."""
    rows = {
        name: {'parameters': 1000 + i, 'mIoU': [60.0 + i, 64.0 + 2 * i]}
        for i, name in enumerate(NAMES)
    }
    costs = [
        {
            'title': title,
            'rows': [
                {
                    'name': name,
                    'seconds': [0.1 * (i + 1), 9.0, 0.1 * (i + 1)],
                    'speed': 1 / (i + 1),
                    'peak': 2**20 * (i + 10),
                    'note': '',
                }
                for i, name in enumerate(NAMES)
            ],
        }
        for title in ('small', 'large')
    ]
    return rows, costs


def test_table():
    rows, costs = made_up()
    costs[1]['rows'][2].update(
        seconds=[], speed=None, peak=None, note='out of memory'
    )
    lines = attention.make_table(rows, costs).splitlines()
    cells = [[c.strip() for c in line.split('|')[1:-1]] for line in lines]
    assert len({len(row) for row in cells}) == 1
    assert 'small' in lines[0]
    assert 'large' in lines[0]
    # Standard deviations of (60, 64), (61, 66) and (62, 68), and of the
    # differences by seed (1, 2) and (2, 4).
    assert cells[2] == [
        *('softmax', '1,000', '62.0 ± 2.8', ''),
        *('100', '1.00', '10', '100', '1.00', '10'),
    ]
    assert cells[3] == [
        *('decomposed only', '1,001', '63.5 ± 3.5', '+1.5 ± 0.7'),
        *('200', '2.00', '11', '200', '2.00', '11'),
    ]
    assert cells[4][:4] == [
        *('interaction only', '1,002', '65.0 ± 4.2', '+3.0 ± 1.4'),
    ]
    assert cells[4][7:] == ['out of memory'] * 3


def test_picture(tmp_path):
    rows, costs = made_up()
    costs[1]['rows'][2].update(seconds=[], speed=None)
    attention.draw(rows, costs, tmp_path / 'plot.png')
    with Image.open(tmp_path / 'plot.png') as picture:
        assert picture.width > 1000


def test_the_study_writes_what_it_found(tmp_path, monkeypatch):
    """With trainings and measurements that are made up."""
    rows, costs = made_up()
    accuracies = iter(
        rows[name]['mIoU'][i] for i in range(2) for name in NAMES
    )

    def execute(runs, folder, jobs):
        assert jobs == 1
        return {
            run.name: {'metrics': {'mIoU': next(accuracies)}} for run in runs
        }

    monkeypatch.setattr(attention, 'execute', execute)
    monkeypatch.setattr(attention, 'measure_costs', lambda *_: costs)
    table = attention.run_study(tmp_path, [0, 1], 1)
    assert table in (tmp_path / 'table.md').read_text()
    assert '| focused | 86,528 | 71.0 ± 7.1 | +9.0 ± 4.2 |' in table
    results = json.loads((tmp_path / 'results.json').read_text())
    assert results['seeds'] == [0, 1]
    assert results['rows']['iMHSA']['mIoU'] == [63.0, 70.0]
    assert results['runs']['focused-no-dwc-1'] == {'metrics': {'mIoU': 74.0}}
    assert (tmp_path / 'plot.png').exists()
