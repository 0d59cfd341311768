# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The notebook runs, at a tiny size, and shows what it was run for."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / 'examples' / 'own_data.ipynb'
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
