# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What a run was: model, data, time, versions, machine."""

import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import mmcv
import mmengine
import numpy
import torch
import torchvision
from mmengine.device import get_device
from mmengine.runner import IterBasedTrainLoop, Runner

from .. import __version__, mmcv_ops
from ..engine.initial_weights import tell_initial_weights
from ..engine.stopwatch import Stopwatch
from ..frameworks import FRAMEWORKS
from .validation import ValidationImages, unwrap

Facts = dict[str, dict[str, str]]


def collect_facts(
    runner: Runner, images: ValidationImages, stopwatch: Stopwatch | None
) -> Facts:
    """Describe a finished run.

    Args:
        runner: The runner that has trained.
        images: Its validation images, after they were looked at.
        stopwatch: What has measured it, if anything has.
    """
    cfg, train = runner.cfg, runner.train_dataloader
    time = {} if stopwatch is None else {'Time': stopwatch.facts()}
    return {
        'Model': _describe_model(runner),
        'Training': {
            'Training images': f'{len(train.dataset):,}',
            'Validation images': f'{len(images.dataset):,}',
            'Image size': _size_range(images.sizes),
            **_length(runner),
            'Batch size': str(train.batch_size * runner.world_size),
            'Seed': str(runner.seed),
        },
        **time,
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
            **_framework_versions(cfg.get('default_scope')),
            'numpy': numpy.__version__,
        },
        'Command': {'': shlex.join(sys.orig_argv)},
    }


def name_model(runner: Runner) -> str:
    """The names of model and backbone, as in ``MaskRCNN, IViT n``."""
    model = unwrap(runner.model)
    names = [type(model).__name__]
    if isinstance(getattr(model, 'backbone', None), torch.nn.Module):
        names.append(_name_backbone(runner))
    return ', '.join(names)


def _describe_model(runner: Runner) -> dict[str, str]:
    model = unwrap(runner.model)
    facts = {'Model': type(model).__name__}
    if isinstance(getattr(model, 'backbone', None), torch.nn.Module):
        facts |= {
            'Backbone': _name_backbone(runner),
            'Parameters, backbone': _millions(model.backbone),
        }
    return facts | {
        'Parameters, all': _millions(model),
        'Initial weights': tell_initial_weights(runner.cfg),
    }


def _name_backbone(runner: Runner) -> str:
    backbone = type(unwrap(runner.model).backbone).__name__
    settings = runner.cfg.model.get('backbone') or {}
    arch = settings.get('arch')
    return f'{backbone} {arch}' if isinstance(arch, str) else backbone


def _length(runner: Runner) -> dict[str, str]:
    if isinstance(runner.train_loop, IterBasedTrainLoop):
        return {'Iterations': f'{runner.iter:,}'}
    return {'Epochs': str(runner.epoch)}


def _size_range(sizes: set[tuple[int, int]]) -> str:
    """The sizes of images, smallest and largest area if they differ."""
    ends = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    texts = [f'{width} × {height}' for width, height in ends]
    return texts[0] if len(texts) == 1 else f'{texts[0]} to {texts[-1]}'


def _framework_versions(scope: str | None) -> dict[str, str]:
    """The version of the framework that the config is for."""
    version = getattr(sys.modules.get(scope or ''), '__version__', None)
    return {scope: version} if scope in FRAMEWORKS and version else {}


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


def _millions(module: torch.nn.Module) -> str:
    return f'{sum(p.numel() for p in module.parameters()) / 1e6:.2f} M'


def _device() -> str:
    kind = get_device()
    return torch.cuda.get_device_name() if kind == 'cuda' else kind.upper()
