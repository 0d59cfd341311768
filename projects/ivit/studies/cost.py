# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Time and memory of a plain transformer with one attention or another."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.device import get_device

from ..backbones import PlainViT
from ..benchmark import compare
from ..benchmark.workload import Setting, Workload
from .runs import write_json


@dataclass(frozen=True)
class Load:
    """Images of one size in a training step.

    Attributes:
        size: Height and width.
        batch: Number of images.
        rounds: How often each attention's step is timed.
    """

    size: int
    batch: int
    rounds: int

    @property
    def title(self) -> str:
        """For tables and pictures."""
        return f'{self.size} x {self.size}, batch {self.batch}'


@dataclass(frozen=True)
class _Work:
    """A backbone and its images, built here or in a child process."""

    backbone: Mapping[str, Any]
    load: Load
    setting: Setting

    def build(self) -> Workload:
        """Random weights and images, the same every time."""
        torch.manual_seed(0)
        side = self.load.size
        images = torch.randn(self.load.batch, 3, side, side)
        return Workload(PlainViT(**self.backbone), (images,), self.setting)


def measure_costs(
    path: Path,
    attentions: Mapping[str, Mapping[str, Any]],
    backbone: Mapping[str, Any],
    loads: tuple[Load, ...],
) -> list[dict[str, Any]]:
    """Measure forward and backward passes, or read what was measured.

    Times are of all attentions in turn in one process, round after round, so
    that what slows the machine down slows all. Memory is the peak of a child
    process for each attention (on a GPU, what torch handed out).

    Args:
        path: A JSON file for the measurements; a load that is in it is not
            measured again.
        attentions: By name; times are compared with those of the first.
        backbone: The other arguments of :class:`PlainViT`.
        loads: What goes in.

    Returns:
        For each load ``title``, ``setting`` and ``rows``; in these by
        ``name`` the ``seconds`` of the rounds, ``peak`` in bytes (None where
        it cannot be told) and ``speed``, the median over the rounds of the
        first attention's time over this one's, with its ``interval``.

    Raises:
        ValueError: If the file has measurements of other settings.
    """
    asked = json.loads(
        json.dumps(
            {
                'attentions': attentions,
                'backbone': backbone,
                'device': get_device(),
                'threads': os.cpu_count() or 1,
            }
        )
    )
    stored = {'asked': asked, 'costs': {}}
    if path.exists():
        stored = json.loads(path.read_text())
    if stored['asked'] != asked:
        raise ValueError(
            f'{path} has measurements of other settings: {stored["asked"]} '
            f'instead of {asked}. Remove it to measure anew.'
        )
    costs = stored['costs']
    for load in loads:
        key = f'{load.title}, {load.rounds} rounds'
        if key in costs:
            continue
        setting = Setting(
            train=True,
            batch=load.batch,
            device=asked['device'],
            threads=asked['threads'],
        )
        works = {
            name: _Work(
                {**backbone, 'attention': dict(options)}, load, setting
            )
            for name, options in attentions.items()
        }
        first = next(iter(attentions))
        result = compare(works, setting, load.title, load.rounds, first)
        costs[key] = asdict(result)
        write_json(path, stored)
    return [costs[f'{load.title}, {load.rounds} rounds'] for load in loads]
