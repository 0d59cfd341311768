# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The examples run, the notebook at a tiny size, and show what they do."""

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / 'examples'
NOTEBOOK = EXAMPLES / 'own_data.ipynb'
SIZE = 'NUM_IMAGES, EPOCHS = 400, 24'


def cells(kind):
    notebook = json.loads(NOTEBOOK.read_text('utf-8'))
    return [c for c in notebook['cells'] if c['cell_type'] == kind]


def test_it_was_run():
    outputs = [out for cell in cells('code') for out in cell['outputs']]
    assert any('image/jpeg' in out.get('data', {}) for out in outputs)
    assert all(out['output_type'] != 'error' for out in outputs)
    text = json.dumps(outputs)
    assert 'bbox_mAP_50' in text
    for place in re.findall(r'/(?:tmp|home|root|work)/[^ "]*', text):
        pytest.fail(f'{place} is a path of a machine')


def test_it_begins_with_the_three_lines():
    first = ''.join(cells('markdown')[0]['source'])
    for line in ('ivit.train(', 'ivit.load(run)', 'model.predict('):
        assert line in first


@pytest.mark.slow
def test_it_runs(tmp_path):
    """Its code, without what Jupyter alone understands."""
    code = '\n'.join(''.join(cell['source']) for cell in cells('code'))
    assert SIZE in code
    code = code.replace(SIZE, 'NUM_IMAGES, EPOCHS = 24, 1')
    lines = [
        line
        for line in code.splitlines()
        if not line.startswith(('%', '!')) and 'IPython' not in line
    ]
    script = tmp_path / 'own_data.py'
    # Workers of a script without a main guard would run it again if spawned.
    script.write_text('display = Image = lambda *_, **__: None\n')
    with script.open('a') as file:
        file.write('\n'.join(lines))
    environment = os.environ | dict(PYTHONPATH=str(ROOT / 'projects'))
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(tmp_path.glob('predicted_*.jpg'))


@pytest.fixture
def example():
    """The names in an example; ``run_name='__main__'`` runs it."""

    def run(name, run_name='example'):
        return runpy.run_path(str(EXAMPLES / name), run_name=run_name)

    return run


@pytest.mark.parametrize(
    'path', sorted(EXAMPLES.glob('*.py')), ids=lambda path: path.name
)
def test_scripts_are_short_and_say_how_to_run_them(path):
    text = path.read_text()
    assert len(text.splitlines()) < 150
    assert f'    python examples/{path.name}' in text
    assert not re.search(r'^(import|from) mm', text, re.MULTILINE)


def test_mask_rcnn_of_torchvision(example, capsys):
    example('torchvision_mask_rcnn.py', '__main__')
    said = capsys.readouterr().out
    assert said.startswith('channels [24, 48, 96, 128], strides [4, 8, 16, 32')
    losses = re.findall(r'(loss_\w+) (\d+\.\d+)', said)
    assert len(losses) == 5
    assert all(float(value) > 0 for _, value in losses)
    masks = re.findall(
        r'\(3, (\d+), (\d+)\): 5 objects, masks \(5, 1, (\d+), (\d+)\)', said
    )
    assert len(masks) == 2
    assert all(sizes[:2] == sizes[2:] for sizes in masks)


def test_the_pyramid_of_the_mask_rcnn(example):
    model = example('torchvision_mask_rcnn.py')['WithFPN']('flatten_pvt_v2_n')
    maps = model(torch.rand(1, 3, 70, 45))
    assert [tuple(m.shape) for m in maps.values()] == [
        (1, 64, -(-70 // stride), -(-45 // stride))
        for stride in (4, 8, 16, 32, 64)
    ]
    sum((m**2).mean() for m in maps.values()).backward()
    assert all(p.grad is not None for p in model.body.parameters())


def test_drop_in_attention(example, capsys):
    example('drop_in_attention.py', '__main__')
    said = capsys.readouterr().out
    assert 'scores (2, 10)' in said
    reached, all_of_them = re.search(r'for (\d+) of (\d+) par', said).groups()
    assert reached == all_of_them
    costs = [
        tuple(map(float, pair))
        for pair in re.findall(r'([\d.]+) GFLOPs.*?, ([\d.]+) with', said)
    ]
    assert len(costs) == 3
    # Four times the patches each: one grows by more, and overtakes.
    (first, *_, last) = costs
    assert first[0] < first[1]
    assert last[0] > 2 * last[1]


def test_what_drop_in_attention_counts(example):
    """Against the formulas, for T tokens of which N are patches."""
    names = example('drop_in_attention.py')
    c, h, depth = names['DIM'], names['HEADS'], names['DEPTH']
    for size in (160, 192):
        n, marks = (size // 16) ** 2, 49
        t = n + 1
        rest = 2 * 3 * 16**2 * c * n + 2 * 10 * c + depth * 16 * t * c**2
        softmax = 8 * t * c**2 + 4 * t**2 * c
        of_token = 4 * c**2 + 4 * t * c**2 + 4 * t * c
        # Projections; two products with landmarks for each of two matrices,
        # whose heads are mixed before and after the softmax.
        of_patches = 8 * n * c**2 + 6 * marks * c**2
        of_patches += 8 * marks * n * c + 8 * marks * n * h**2
        for interactive, attention in (
            (False, softmax),
            (True, of_token + of_patches),
        ):
            model = names['build'](size, interactive)
            assert names['count'](model, size) == rest + depth * attention
