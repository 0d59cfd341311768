# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The transfer study: its grid, its tables, and all of it at a tiny size."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from PIL import Image

from ivit.studies import few_images, transfer

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (3, 4)


def load(run):
    cfg = Config.fromfile(
        ROOT / 'configs' / f'{run.config}.py', import_custom_modules=False
    )
    cfg.merge_from_dict(dict(run.options))
    return cfg


def test_two_runs_differ_in_initial_weights_alone(tmp_path):
    runs = {run.name: run for run in transfer.list_runs(tmp_path, SEEDS)}
    assert len(runs) == 2 * 2 * (1 + 2 * 2)
    pretrained = [name for name in runs if 'pre-trained' in name]
    assert len(pretrained) == 8
    for name in pretrained:
        run = runs[name]
        scratch = runs[name.replace('pre-trained', 'scratch')]
        assert (run.config, run.options) == (scratch.config, scratch.options)
        assert run.options['randomness.seed'] == int(name[-1])
        assert not scratch.needs
        assert list(scratch.late_options()) == []
        (needed,) = run.needs
        assert needed.endswith(f'pre-training-{name[-1]}')
        assert needed.split('-n-')[0] == name.split('-n-')[0]


def test_all_backbones_get_the_same_detector(tmp_path):
    cfgs = {
        run.name: load(run)
        for run in transfer.list_runs(tmp_path, SEEDS[:1])
        if run.name.endswith('mask-r-cnn-scratch-3')
    }
    kinds = [cfg.model.pop('backbone').type for cfg in cfgs.values()]
    assert kinds == ['IViT', 'FLattenSwin']
    first, second = (cfg.to_dict() for cfg in cfgs.values())
    assert first == second


def test_no_scene_is_in_both_trainings(tmp_path):
    drawn = {}
    for run in transfer.list_runs(tmp_path, SEEDS[:1]):
        cfg = load(run)
        kind = 'first' if run.name.endswith('pre-training-3') else 'then'
        for phase in ('train', 'val', 'test'):
            dataset = cfg[f'{phase}_dataloader'].dataset
            drawn.setdefault(kind, set()).add(
                (dataset.seed, dataset.data_root)
            )
        metric = cfg.val_evaluator.get('ann_file')
        assert metric in (
            None,
            'data/shapes_finetune/annotations/instances_val.json',
        )
    assert drawn == {
        'first': {(1000, 'data/shapes_pretrain')},
        'then': {(0, 'data/shapes_finetune')},
    }


def test_one_cycle_and_one_validation(tmp_path):
    for run in transfer.list_runs(tmp_path, SEEDS[:1]):
        cfg = load(run)
        loop = cfg.train_cfg
        length = loop.get('max_epochs') or loop.max_iters
        assert loop.val_interval == length
        assert cfg.param_scheduler[1].end == length
        start = cfg.param_scheduler[1].begin
        assert cfg.param_scheduler[1].T_max == length - start
        assert length % cfg.default_hooks.checkpoint.interval == 0


def result(seconds, **metrics):
    return dict(metrics=metrics, seconds=seconds)


def test_tables(tmp_path, monkeypatch):
    """Numbers by hand: gains are paired by seed."""
    monkeypatch.setattr(transfer, 'BACKBONES', {'iViT-N': 'ivit_n'})

    def execute(runs, folder, jobs):
        results = {}
        for run in runs:
            seed = run.options['randomness.seed'] - 3
            if 'pre-training' in run.name:
                results[run.name] = result(
                    60 + seed, **{'accuracy/top1': 90.0 + 2 * seed}
                )
            elif 'mask' in run.name:
                # Seed 4's detector from scratch found nothing.
                found = {
                    'coco/bbox_mAP': 0.2 + 0.1 * seed,
                    'coco/bbox_mAP_50': 0.5,
                    'coco/segm_mAP': 0.25,
                }
                if 'scratch' in run.name:
                    found = {} if seed else {'coco/bbox_mAP': 0.1}
                results[run.name] = result(80, **found)
            else:
                better = 'pre-trained' in run.name
                results[run.name] = result(50, mIoU=40.0 + 10 * better)
        return results

    monkeypatch.setattr(transfer, 'execute', execute)
    table = transfer.run_study(tmp_path, SEEDS, 1)
    lines = table.splitlines()
    assert lines[0] == (
        '| backbone | task | metric | scratch | pre-trained | gain |'
    )
    # 10 and 0; 20 and 30; gains 10 and 30.
    assert lines[2] == (
        '| iViT-N | Mask R-CNN | box AP | 5.0 ± 7.1 | 25.0 ± 7.1 | '
        '+20.0 ± 14.1 |'
    )
    assert lines[5] == (
        '| iViT-N | UperNet | mIoU | 40.0 ± 0.0 | 50.0 ± 0.0 | +10.0 ± 0.0 |'
    )
    assert lines[-1] == '| iViT-N | 91.0 ± 1.4 | 60 ± 1 | 80 ± 0 | 50 ± 0 |'
    assert table in (tmp_path / 'table.md').read_text()
    stored = json.loads((tmp_path / 'results.json').read_text())
    assert stored['dense'][0]['gain'] == pytest.approx([10, 30])
    assert stored['seeds'] == [3, 4]
    with Image.open(tmp_path / 'plot.png') as picture:
        assert picture.format == 'PNG'


def test_publishes_once(tmp_path):
    state = {'backbone.stem': torch.ones(2), 'head.fc': torch.zeros(2)}
    torch.save(dict(state_dict=state, optimizer={}), tmp_path / 'epoch_1.pth')
    last = tmp_path / 'last_checkpoint'
    last.write_text(str(tmp_path / 'epoch_1.pth'))
    first = few_images.backbone_from(tmp_path)
    init_cfg = first['model.backbone.init_cfg']
    assert init_cfg['prefix'] == 'backbone.'
    path = Path(init_cfg['checkpoint'])
    published = torch.load(path, weights_only=True)
    assert published['state_dict'].keys() == state.keys()
    assert 'optimizer' not in published
    last.unlink()  # not looked for again
    assert few_images.backbone_from(tmp_path) == first


TINY = """
import sys
from pathlib import Path

from ivit.studies import few_images, transfer

folder = Path(sys.argv[1])


def shrink(options, few):
    for key in options:
        if key.endswith('data_root'):
            options[key] = str(folder / Path(options[key]).name)
        elif key.endswith('ann_file'):
            options[key] = str(folder / options[key].removeprefix('data/'))
    for phase in ('train', 'val', 'test'):
        dataset = f'{phase}_dataloader.dataset'
        options[f'{dataset}.num_train'] = options[f'{dataset}.num_val'] = few


def fine_tuning(task, backbone):
    name, options = few_images.fine_tuning(task, backbone)
    shrink(options, 8)
    if task == 'UperNet':
        options |= few_images.length_options('max_iters', 2)
        options['param_scheduler.1.begin'] = 0
    else:
        options |= few_images.length_options('max_epochs', 1)
    return name, options


shrink(transfer.PRETRAINING, 16)
transfer.PRETRAINING.update(few_images.length_options('max_epochs', 2))
transfer.fine_tuning = fine_tuning
transfer.BACKBONES = {'FLatten-Swin-N': 'flatten_swin_n'}
print(transfer.run_study(folder / 'study', [0], 2))
"""


@pytest.mark.slow
def test_from_end_to_end(tmp_path):
    """Five trainings; the detector starts from the published classifier."""
    done = subprocess.run(
        [sys.executable, '-c', TINY, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT / 'projects')},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '[5/5] ' in done.stdout
    assert '| FLatten-Swin-N | UperNet | mIoU | ' in done.stdout
    stored = json.loads((tmp_path / 'study' / 'results.json').read_text())
    assert len(stored['runs']) == 5
    log = tmp_path / 'study' / 'flatten-swin-n-mask-r-cnn-pre-trained-0'
    assert 'published-' in (log / 'log.txt').read_text()
