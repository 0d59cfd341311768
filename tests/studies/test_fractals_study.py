# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The study of fractals: its grid and its tables."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from PIL import Image

from ivit.checkpoints import shipped_for
from ivit.engine import find_config
from ivit.studies import fractals

SEEDS = (3, 4)
NUM_FIRST = 3 + 2 + 1  # classifiers of the curve, scenes, shapes


def load(run):
    cfg = Config.fromfile(find_config(run.config), import_custom_modules=False)
    cfg.merge_from_dict(dict(run.options))
    return cfg


@pytest.fixture
def runs(tmp_path):
    return {run.name: run for run in fractals.list_runs(tmp_path, SEEDS)}


def test_the_grid(runs):
    tasks, sizes, starts = 2, 3, 4
    assert len(runs) == NUM_FIRST + len(SEEDS) * (tasks * sizes * starts + 3)
    assert 'mask-r-cnn-200-fractals-3' in runs
    assert 'upernet-50-scenes-of-fractals-4' in runs
    assert 'curve-ivit_n_one_fractal-200-3' in runs


def test_runs_differ_in_initial_weights_alone(runs):
    for name, run in runs.items():
        for start in ('scenes-of-fractals', 'shapes-classifier'):
            prefix, _, seed = name.rpartition(f'-{start}-')
            if not prefix:
                continue
            scratch = runs[f'{prefix}-scratch-{seed}']
            assert (run.config, run.options) == (
                scratch.config,
                scratch.options,
            )
            assert not scratch.needs
            assert len(run.needs) == 1
            assert run.needs[0] in runs


def test_the_classifier_that_comes_with_ivit_is_a_start(runs):
    for task in ('mask-r-cnn', 'upernet'):
        scratch = runs[f'{task}-200-scratch-3']
        run = runs[f'{task}-200-fractals-3']
        assert not run.needs
        assert run.options == scratch.options | {
            'model.backbone.init_cfg': dict(
                type='Pretrained', checkpoint='ivit_n_fractals'
            )
        }
        assert shipped_for(load(scratch).model.backbone) == 'ivit_n_fractals'


def test_steps_are_the_same_for_all_numbers_of_images(runs):
    for images in (50, 200, 500):
        cfg = load(runs[f'mask-r-cnn-{images}-scratch-3'])
        dataset = cfg.train_dataloader.dataset
        assert dataset.get('indices', dataset.num_train) == images
        batch = cfg.train_dataloader.batch_size
        steps = -(-images // batch) * cfg.train_cfg.max_epochs
        assert 312 <= steps <= 350
        upernet = load(runs[f'upernet-{images}-scratch-3'])
        assert upernet.train_cfg.max_iters == 600


def test_pretraining_sees_what_its_name_says(runs):
    for config, thousands in fractals.SHORTER:
        cfg = load(runs[f'{config}-{thousands}'])
        repeated = cfg.train_dataloader.dataset
        kind = repeated.dataset.type
        is_one = config == 'ivit_n_one_fractal'
        assert kind == ('OneFractalDataset' if is_one else 'FractalDataset')
        epoch = repeated.times * repeated.dataset.num_categories
        assert epoch * cfg.train_cfg.max_epochs == 1000 * thousands
        assert cfg.train_cfg.val_interval == cfg.train_cfg.max_epochs
    for task in ('mask-r-cnn', 'upernet'):
        cfg = load(runs[f'scenes-of-fractals-{task}'])
        assert cfg.train_dataloader.dataset.type.startswith('FractalScenes')


def test_models_on_scenes_fit_those_that_start_from_them(runs):
    for task, head in (('mask-r-cnn', 'roi_head'), ('upernet', 'decode_head')):
        first = load(runs[f'scenes-of-fractals-{task}']).model
        then = load(runs[f'{task}-200-scratch-3']).model
        assert first.backbone == then.backbone
        assert first.get('neck') == then.get('neck')
        assert first[head].type == then[head].type


def test_tables(tmp_path, monkeypatch):
    def execute(runs, folder, jobs):
        results = {}
        for run in runs:
            seed = run.options['randomness.seed']
            value = 0.2 if 'scratch' not in run.name else 0.1
            metrics = {run.metric: value + 0.01 * seed}
            if run.metric == 'accuracy/top1':
                metrics = {run.metric: 50.0}
            results[run.name] = {'metrics': metrics, 'seconds': 60}
        return results

    weights = SimpleNamespace(
        config='ivit_n_fractals', samples=500_000, accuracy=90.0
    )
    monkeypatch.setattr(
        fractals, 'shipped_weights', lambda: {'ivit_n_fractals': weights}
    )
    monkeypatch.setattr(fractals, 'execute', execute)
    table = fractals.run_study(tmp_path, SEEDS, 1)
    lines = table.splitlines()
    assert lines[0].startswith('| task | metric | images | scratch | frac')
    row = next(line for line in lines if '| box AP | 200 |' in line)
    cells = [cell.strip() for cell in row.strip('|').split('|')]
    assert cells[3] == '13.5 ± 0.7'
    assert cells[4:] == ['23.5 ± 0.7 (+10.0)'] * 3
    # COCO's other metrics are absent, as where nothing was detected.
    assert '| mask AP | 50 | 0.0 ± 0.0 | 0.0 ± 0.0 (+0.0) |' in table
    assert '| `ivit_n_one_fractal` | 200,000 | 50.0 | 23.5 ± 0.7 |' in table
    assert '| `ivit_n_fractals` | 500,000 | 90.0 | 23.5 ± 0.7 |' in table
    stored = json.loads((tmp_path / 'results.json').read_text())
    assert stored['seeds'] == [3, 4]
    assert len(stored['curve']) == 4
    assert table in Path(tmp_path, 'table.md').read_text()
    with Image.open(tmp_path / 'plot.png') as picture:
        assert picture.format == 'PNG'
