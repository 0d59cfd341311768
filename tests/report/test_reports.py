# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Reports of the small configs, after a step or two of training."""

import re

import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.visualization import UniversalVisualizer
from report_cases import Page

from ivit import report
from ivit.engine import ReportHook, find_config, report_hook

SIZES = dict(num_train=4, num_val=3, image_size=64)
FRAMEWORKS = {
    'mask_rcnn_ivit_n_shapes': 'mmdet',
    'retinanet_ivit_n_shapes': 'mmdet',
    'upernet_ivit_n_shapes': 'mmseg',
    'ivit_n_shapes': 'mmpretrain',
}
HEADLINES = {
    'mask_rcnn_ivit_n_shapes': ['Box AP50', 'Mask AP50', 'Box AP', 'Mask AP'],
    'retinanet_ivit_n_shapes': ['Box AP50', 'Box AP'],
    'upernet_ivit_n_shapes': ['mIoU, %', 'mAcc, %', 'aAcc, %'],
    'ivit_n_shapes': ['top1, %'],
}
HEADINGS = [
    'Metrics',
    'Training',
    'Confusion matrix',
    'Worst images',
    'Ground truth and prediction',
    'How this was made',
]


@pytest.fixture(scope='module')
def data_root(tmp_path_factory):
    return tmp_path_factory.mktemp('data') / 'shapes'


@pytest.fixture
def train(tmp_path, data_root, forget_globals):
    """Train a small config for two steps, with a report at the end."""

    def run(name):
        pytest.importorskip(FRAMEWORKS[name])
        cfg = Config.fromfile(find_config(name))
        for split in ('train', 'val'):
            loader = cfg[f'{split}_dataloader']
            loader.update(
                batch_size=2, num_workers=0, persistent_workers=False
            )
            loader.dataset.update(data_root=str(data_root), **SIZES)
        answers = data_root / 'annotations' / 'instances_val.json'
        if 'ann_file' in cfg.val_evaluator:
            cfg.val_evaluator.ann_file = str(answers)
        if 'max_iters' in cfg.train_cfg:
            cfg.train_cfg.update(max_iters=2, val_interval=2)
        else:
            cfg.train_cfg.update(max_epochs=1, val_interval=1)
        for key in ('test_dataloader', 'test_evaluator', 'test_cfg'):
            cfg[key] = None
        cfg.param_scheduler = cfg.param_scheduler[:1]
        cfg.default_hooks.logger.interval = 1
        cfg.custom_hooks = [dict(type='ReportHook')]
        cfg.work_dir = str(tmp_path)
        runner = Runner.from_cfg(cfg)
        runner.train()
        return runner

    # A visualizer of the same name, of another test, writes elsewhere.
    forget_globals()
    yield run
    forget_globals()


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(
            name, marks=[pytest.mark.slow] * (name != 'ivit_n_shapes')
        )
        for name in FRAMEWORKS
    ],
)
def test_report_of_a_small_config(train, tmp_path, name):
    runner = train(name)
    text = (tmp_path / 'report.html').read_text(encoding='utf-8')
    page = Page(text)
    for heading in HEADINGS:
        assert f' {heading}' in page.text
    for number in HEADLINES[name]:
        assert f' {number}' in page.text
    assert page.tags.count('script') == 0
    assert all(re.match(r'data:image/', link) for link in page.links)
    classes = runner.val_dataloader.dataset.metainfo['classes']
    by_class = page.tables[-1]
    assert [row[0] for row in by_class[1:]] == list(classes)
    # Three images, twice; for a classifier each object is one.
    assert page.text.count('.jpg') >= 3
    (own,) = tmp_path.glob('*/report.html')
    assert own.read_text(encoding='utf-8') == text

    path = tmp_path / 'again.html'
    history = report.write_report(runner, path)
    assert history.train
    assert history.val
    assert history.unit == (
        'iteration' if FRAMEWORKS[name] == 'mmseg' else 'epoch'
    )
    assert 'Data and model' not in path.read_text(encoding='utf-8')


def test_a_visualizer_of_the_same_name_is_there(train, tmp_path):
    """It writes elsewhere, as that of a first training in the process."""
    elsewhere = tmp_path / 'elsewhere'
    UniversalVisualizer.get_instance(
        name='visualizer',
        vis_backends=[dict(type='LocalVisBackend')],
        save_dir=str(elsewhere),
    )
    runner = train('ivit_n_shapes')
    assert (tmp_path / 'report.html').is_file()
    assert runner.visualizer.dataset_meta is not None
    assert not list(elsewhere.rglob('scalars.json'))


def fail(*args):
    raise OSError('no space left')


def test_a_failure_is_a_warning(train, tmp_path, monkeypatch):
    logged = []

    def log(text, logger, level=20):
        logged.append((level, text))

    monkeypatch.setattr(report, 'write_report', fail)
    monkeypatch.setattr(report_hook, 'print_log', log)
    train('upernet_ivit_n_shapes')
    ((level, text),) = logged
    assert level == 30
    assert 'OSError: no space left' in text
    assert str(tmp_path) in text
    assert not list(tmp_path.rglob('*.html'))


def test_only_the_main_process_writes(monkeypatch):
    monkeypatch.setattr(report_hook, 'is_main_process', lambda: False)
    monkeypatch.setattr(report, 'write_report', fail)
    monkeypatch.setattr(report_hook, 'print_log', fail)
    ReportHook().after_train(None)
