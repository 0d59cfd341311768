# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Memory, tables, files and the tool itself."""

import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from ivit.benchmark import Result, Row, markdown, write
from ivit.benchmark.memory import REFS, peak_bytes
from ivit.benchmark.workload import Setting, Workload

TOOL = Path(__file__).parents[2] / 'tools' / 'benchmark.py'


@dataclass
class Wide:
    """32 MiB of weights, and three times as much of activations."""

    setting: Setting

    def build(self):
        layers = [nn.Linear(1024, 8192), nn.Identity()]
        x = torch.rand(3072, 1024)
        return Workload(nn.Sequential(*layers), (x,), self.setting)


@pytest.mark.slow
@pytest.mark.skipif(not REFS.exists(), reason='needs Linux')
def test_peak_of_a_child(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    forward, train = (
        peak_bytes(Wide(Setting(train, threads=1)).build, 'cpu') / 2**20
        for train in (False, True)
    )
    assert forward == pytest.approx(32 + 96, abs=8)
    # The gradient of the weights; that of the output is made beforehand.
    assert train == pytest.approx(32 + 96 + 32, abs=8)


def results(**sizes):
    rows = {
        name: Row(
            name,
            params=2_500_000,
            macs=int(3e9),
            seconds=[0.2, 0.1, 0.3],
            peak=5 * 2**20 * size,
            speed=1.5,
            interval=(1.25, 2.0),
        )
        for name, size in sizes.items()
    }
    return list(rows.values())


def test_table():
    rows = results(a=1)
    rows += [Row('b', note='over 8 GiB')]
    text = markdown([Result('1 x 3 x 4 x 4', Setting(), rows)])
    assert '1 x 3 x 4 x 4' in text
    assert 'forward, batch of 1, float32, eager, 2 threads; rounds: 3' in text
    assert (
        '| a | 2.50 | 3.00 | 200 | 120 | 280 | 5 | 1.50 x | 1.25 to 2.00 |'
    ) in text
    assert '| b | - | - | over 8 GiB | - | - | - | - | - |' in text


def test_growth_with_tokens():
    sweep = [
        Result('few', Setting(), results(a=1), tokens=196),
        Result('more', Setting(), results(a=3), tokens=784),
        Result('other', Setting(), results(a=9), tokens=4200),
    ]
    text = markdown(sweep)
    assert '| 196 to 784 | a | x 1.00 | x 3.00 |' in text
    assert text.count(' to ') == 3 + 1


@pytest.mark.parametrize('tokens', [None, 196])
def test_files(tmp_path, tokens):
    result = Result('few', Setting(), results(a=1, b=2), tokens=tokens)
    write([result], tmp_path / 'out')
    saved = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert saved['environment']['torch'] == torch.__version__
    assert saved['results'][0]['rows'][1]['seconds'] == [0.2, 0.1, 0.3]
    picture = (tmp_path / 'out' / 'results.svg').read_text()
    assert picture.startswith('<?xml')
    assert ('tokens' in picture) == (tokens is not None)
    table = (tmp_path / 'out' / 'results.md').read_text()
    assert table == markdown([result])


@pytest.fixture
def tool(monkeypatch):
    def run(*args):
        spec = importlib.util.spec_from_file_location('tool_benchmark', TOOL)
        module = importlib.util.module_from_spec(spec)
        with monkeypatch.context() as patch:
            patch.setattr(sys, 'argv', ['benchmark', *map(str, args)])
            patch.setattr(sys, 'path', sys.path[:])
            spec.loader.exec_module(module)
            module.main()

    return run


@pytest.mark.slow
def test_tool(tool, tmp_path, capsys):
    tool(
        *('flatten_swin_n_naive', 'flatten_swin_n'),
        *('--shape', 32, 64, '--shape', 32, 32, '--rounds', 6, '--threads', 1),
        *('--device', 'cpu', '--out', tmp_path),
    )
    out = capsys.readouterr().out
    assert '**1 x 3 x 32 x 64**' in out
    assert '**1 x 3 x 32 x 32**' in out
    saved = json.loads((tmp_path / 'results.json').read_text())
    for result in saved['results']:
        first, second = result['rows']
        assert first['speed'] == 1
        assert len(second['seconds']) == 6
        low, high = second['interval']
        assert low <= second['speed'] <= high
        assert first['params'] == second['params']


def test_tool_with_attention_and_memory_alone(tool, capsys):
    tool(
        *('--attention', 'focused', 'imhsa', '--tokens', 196, '--dim', 24),
        *('--heads', 2, '--train', '--memory-only', '--device', 'cpu'),
    )
    out = capsys.readouterr().out
    assert '**196 tokens (14 x 14)**' in out
    assert '| imhsa | 0.00 | ' in out
    assert 'rounds: 0' in out


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ((), 'name backbones, or give --attention'),
        (('ivit_n', '--attention'), 'name backbones, or give --attention'),
        (('ivit_n', '--rounds', 0), '--rounds has to be at least 1'),
        (('ivit_n', '--amp'), '--amp needs --dtype'),
        (('ivit_x',), "no backbone 'ivit_x'"),
        (('ivit_n', '--shape', 0, 5), 'at least 1'),
    ],
)
def test_mistakes(tool, capsys, args, message):
    with pytest.raises(SystemExit):
        tool(*args)
    assert message in capsys.readouterr().err
