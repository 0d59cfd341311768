# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What a run was: model, data, time, versions, machine."""

import os
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path

import mmcv
import mmdet
import mmengine
import numpy
import torch
import torchvision
from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.runner import Runner

from .. import __version__, mmcv_ops

Facts = dict[str, dict[str, str]]


class Stopwatch(Hook):
    """Measures a run with a training that evaluates now and then.

    Args:
        since: When the set-up began, in seconds since the epoch.
        process_start: When this process began, likewise.
    """

    def __init__(self, since: float, process_start: float) -> None:
        self.since = since
        self.process_start = process_start
        self.evaluation = 0.0
        self.evaluations = 0

    def before_train(self, runner: Runner) -> None:
        """Training starts; the data is there and the model is built."""
        self._train_start = time.time()

    def after_train(self, runner: Runner) -> None:
        """Training is over, its last evaluation included."""
        self._train_end = time.time()

    def before_val(self, runner: Runner) -> None:
        """An evaluation starts."""
        self._val_start = time.time()

    def after_val(self, runner: Runner) -> None:
        """An evaluation is over."""
        self.evaluation += time.time() - self._val_start
        self.evaluations += 1

    def total(self) -> float:
        """Seconds since the beginning."""
        return time.time() - self.since

    def facts(self) -> dict[str, str]:
        """The time each part took."""
        training = self._train_end - self._train_start - self.evaluation
        preparation = self._train_start - self.process_start
        times = {
            'Installation': self.process_start - self.since,
            'Data and model': preparation,
            'Training': training,
            f'Evaluation ({self.evaluations} times)': self.evaluation,
            'Total until this page': self.total(),
        }
        return {name: _duration(times[name]) for name in times}


def collect_facts(runner: Runner, stopwatch: Stopwatch) -> Facts:
    """Describe a finished run of an mmdet detector."""
    model, cfg = runner.model, runner.cfg
    train, val = runner.train_dataloader, runner.val_dataloader
    height, width = val.dataset[0]['inputs'].shape[-2:]
    backbone = f'{type(model.backbone).__name__} {cfg.model.backbone.arch}'
    return {
        'Model': {
            'Detector': type(model).__name__,
            'Backbone': backbone,
            'Parameters, backbone': _millions(model.backbone),
            'Parameters, all': _millions(model),
            'Initial weights': cfg.get('load_from') or 'random',
        },
        'Training': {
            'Training images': f'{len(train.dataset):,}',
            'Validation images': f'{len(val.dataset):,}',
            'Image size': f'{width} × {height}',
            'Epochs': str(runner.epoch),
            'Batch size': str(train.batch_size),
            'Seed': str(runner.seed),
        },
        'Time': stopwatch.facts(),
        'Machine': {
            'Device': _device(),
            'CPU threads': f'{torch.get_num_threads()} of {os.cpu_count()}',
            'System': f'{platform.system()} {platform.machine()}',
        },
        'Versions': {
            'ivit': f'{__version__}{_revision()}',
            'Python': platform.python_version(),
            'torch': torch.__version__,
            'torchvision': torchvision.__version__,
            'mmengine': mmengine.__version__,
            'mmcv': f'{mmcv.__version__}, operators '
            + ('stood in' if mmcv_ops.is_stand_in() else 'compiled'),
            'mmdet': mmdet.__version__,
            'numpy': numpy.__version__,
        },
        'Command': {'': shlex.join(sys.orig_argv)},
    }


def _revision() -> str:
    """The commit of a checkout of ivit; nothing for an installed package."""
    folder = Path(__file__).parent
    git = ['git', '-C', str(folder)]
    try:
        # An environment may lie in a repository of another project.
        tracked, commit = (
            subprocess.check_output(
                [*git, *command], text=True, stderr=subprocess.DEVNULL
            )
            for command in (
                ('ls-files', '.'),
                ('rev-parse', '--short=10', 'HEAD'),
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return ''
    return f', git {commit.strip()}' if tracked else ''


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f'{minutes} min {seconds:02d} s' if minutes else f'{seconds} s'


def _millions(module: torch.nn.Module) -> str:
    return f'{sum(p.numel() for p in module.parameters()) / 1e6:.2f} M'


def _device() -> str:
    kind = get_device()
    return torch.cuda.get_device_name() if kind == 'cuda' else kind.upper()
