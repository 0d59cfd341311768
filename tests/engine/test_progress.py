# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The progress bar around a training of a toy model."""

import logging
from contextlib import nullcontext

import pytest
import rich
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from rich.file_proxy import FileProxy
from torch.utils.data import DataLoader

from ivit.engine import ProgressBar


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, inputs, mode):
        if mode == 'loss':
            return dict(loss=self.weight * inputs.sum())
        return [inputs]


class Metric(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(count=len(results))


@pytest.fixture
def runner(tmp_path):
    def collate(batch):
        return dict(inputs=torch.stack(batch))

    train, val = (
        DataLoader(torch.rand(n, 2), 1, collate_fn=collate) for n in (6, 3)
    )
    return Runner(
        model=Model(),
        work_dir=str(tmp_path),
        train_dataloader=train,
        train_cfg=dict(by_epoch=True, max_epochs=2, val_interval=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        val_dataloader=val,
        val_cfg=dict(),
        val_evaluator=[Metric()],
        default_hooks=dict(logger=dict(type='LoggerHook', interval=2)),
        experiment_name=tmp_path.name,
    )


def console_handler(runner):
    (handler,) = (
        h for h in runner.logger.handlers if type(h) is logging.StreamHandler
    )
    return handler


def test_one_line_each_in_a_log_file(runner, capsys, monkeypatch):
    monkeypatch.delenv('FORCE_COLOR', raising=False)
    with ProgressBar() as bar:
        runner.register_hook(bar)
        runner.train()
    lines = capsys.readouterr().out.splitlines()
    # 2 epochs of 6 steps, and of the last evaluation 3 batches.
    (training,) = (line for line in lines if line.startswith('Training'))
    (evaluation,) = (line for line in lines if line.startswith('Evaluation'))
    assert ' 12/12 ' in training
    assert ' 3/3 ' in evaluation
    assert training.rstrip().endswith('0:00:00 left')


@pytest.mark.parametrize('error', [None, KeyboardInterrupt])
def test_log_lines_go_above_the_bar(runner, capsys, monkeypatch, error):
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('FORCE_COLOR', '1')
    monkeypatch.setattr(rich.get_console(), 'is_interactive', True)
    handler = console_handler(runner)
    before = handler.stream
    shown = []

    class Look(Hook):
        def after_train_iter(self, runner, *args, **kwargs):
            shown.append(handler.stream)
            if error:
                raise error

    runner.register_hook(Look())
    ends = pytest.raises(error) if error else nullcontext()
    with ends, ProgressBar() as bar:
        runner.register_hook(bar)
        runner.train()
    # While the bar is there, lines go through rich; then as before.
    assert shown[0] is not before
    assert isinstance(shown[0], FileProxy)
    assert handler.stream is before
    out = capsys.readouterr().out
    assert out.count('\x1b[?25l') == out.count('\x1b[?25h') == 1  # cursor
    assert error or out.count('Training') >= 12
