# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The demo on a few images."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run_demo(cwd, *arguments):
    shapes = cwd / 'shapes'
    options = ['train_cfg.max_epochs=1', 'train_dataloader.dataset.indices=16']
    for split in ('train', 'val'):
        data = f'{split}_dataloader.dataset'
        options += [f'{data}.data_root={shapes}', f'{data}.num_train=16']
        options += [f'{data}.num_val=13']
    answers = shapes / 'annotations' / 'instances_val.json'
    options += [f'val_evaluator.ann_file={answers}']
    return subprocess.run(
        [
            *(sys.executable, ROOT / 'tools' / 'demo.py'),
            *('--since', str(time.time() - 1000), '--work-dir', 'demo'),
            *arguments,
            *('--cfg-options', *options),
        ],
        cwd=cwd,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_demo_twice(tmp_path):
    done = run_demo(tmp_path)
    assert done.returncode == 0, done.stderr
    number = r'(0\.\d{3}|n/a)'
    last = done.stdout.splitlines()[-1]
    found = re.fullmatch(
        f'demo: box_AP50={number} mask_AP50={number} '
        r'seconds=(\d+) report=(demo/report\.html)',
        last,
    )
    assert found, last
    assert 1000 <= int(found[3]) < 2000
    report = tmp_path / 'demo' / 'report.html'
    page = report.read_text(encoding='utf-8')
    assert page.endswith('</html>\n')
    assert len(page) < 6e6
    # 12 of 13 images at even intervals and the 12 worst, twice each.
    assert page.count('<svg') == 48
    assert 'they are not COCO' in page
    start = 'ivit_n_fractals in model.backbone, random elsewhere'
    assert page.count(start) == 2  # in the introduction, and in the facts
    assert f'<td>{found[1]}</td>' in page
    assert f'<td>{found[2]}</td>' in page

    assert run_demo(tmp_path, '--from-scratch').returncode == 0
    runs = sorted(path.parent for path in tmp_path.glob('demo/*/report.html'))
    assert len(runs) == 2
    assert (runs[0] / 'report.html').read_text(encoding='utf-8') == page
    second = report.read_text(encoding='utf-8')
    assert (runs[1] / 'report.html').read_text(encoding='utf-8') == second
    assert 'trained from random weights' in second
    assert start not in second
    assert all((run / 'epoch_1.pth').is_file() for run in runs)


@pytest.mark.slow
def test_no_report_without_data(tmp_path):
    (tmp_path / 'shapes').mkdir()  # some folder of the user's
    done = run_demo(tmp_path)
    assert done.returncode == 1
    assert 'is not a shapes data set' in done.stderr.splitlines()[-1]
    assert not list(tmp_path.rglob('*.html'))
