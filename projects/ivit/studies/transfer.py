# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What pre-training as a classifier is worth to detection and segmentation.

Each backbone is trained as a classifier on object crops, published, and then
trained on few images inside Mask R-CNN and UperNet; and the same from random
weights. The two differ in the initial weights alone.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from . import summary
from .few_images import (
    METRICS,
    TASKS,
    Metric,
    backbone_from,
    data_options,
    fine_tuning,
    finetuned,
    length_options,
    results_of,
    run_name,
    values_of,
)
from .runs import Run, execute

BACKBONES = {'iViT-N': 'ivit_n', 'FLatten-Swin-N': 'flatten_swin_n'}
STARTS = ('scratch', 'pre-trained')
ACCURACY = 'accuracy/top1'
# Scenes that neither the training nor the validation of the fine-tuning has.
PRETRAINING = {
    **data_options(data_root='data/shapes_pretrain', seed=1000),
    **length_options('max_epochs', 10),
    'default_hooks.checkpoint.interval': 2,
}


def list_runs(folder: Path, seeds: Sequence[int]) -> list[Run]:
    """All trainings, each seed's together, so that each can be looked at."""
    runs = []
    for seed in seeds:
        for backbone, config in BACKBONES.items():
            first = run_name(backbone, 'pre-training', seed)
            runs.append(pretraining(first, config, seed))
            for task in TASKS:
                recipe = fine_tuning(task, config)
                scratch, pretrained = (
                    partial(
                        finetuned,
                        run_name(backbone, task, start, seed),
                        task,
                        recipe,
                        seed,
                    )
                    for start in STARTS
                )
                late = partial(backbone_from, folder / first)
                runs.append(scratch())
                runs.append(pretrained(needs=(first,), late_options=late))
    return runs


def pretraining(name: str, config: str, seed: int) -> Run:
    """The training of a classifier on the crops of other scenes."""
    options = {**PRETRAINING, 'randomness.seed': seed}
    return Run(name, f'{config}_shapes', options, metric=ACCURACY)


def run_study(folder: Path, seeds: Sequence[int], jobs: int) -> str:
    """Do what is left of the study and write down what came out.

    Args:
        folder: For the work dirs, ``results.json``, ``table.md`` and
            ``plot.png``.
        seeds: One grid of trainings for each.
        jobs: Trainings at once.

    Returns:
        The tables, in Markdown.

    Raises:
        ValueError: See :func:`.runs.execute`, as for ``RunFailed``.
    """
    folder = Path(folder).absolute()
    results = execute(list_runs(folder, seeds), folder, jobs)
    dense = [
        _compare(results, backbone, seeds, metric)
        for backbone in BACKBONES
        for metric in METRICS
    ]
    pretraining = [
        {
            'backbone': backbone,
            'accuracy': [run['metrics'][ACCURACY] for run in runs],
            'seconds': [run['seconds'] for run in runs],
        }
        for backbone in BACKBONES
        for runs in [results_of(results, seeds, backbone, 'pre-training')]
    ]
    table = _table(dense, pretraining)
    summary.write_results(
        folder,
        {
            'seeds': list(seeds),
            'pre-training': pretraining,
            'dense': dense,
            'runs': results,
        },
        table,
    )
    _draw(dense, folder / 'plot.png')
    return table


def _compare(
    results: dict,
    backbone: str,
    seeds: Sequence[int],
    metric: Metric,
) -> dict[str, Any]:
    """A row of the table: values by seed of both starts and their gain."""
    task = metric.task
    row: dict[str, Any] = {
        'backbone': backbone,
        'task': task,
        'metric': metric.label,
    }
    for start in STARTS:
        runs = results_of(results, seeds, backbone, task, start)
        row[start] = values_of(metric, runs)
        row[f'{start}, seconds'] = [run['seconds'] for run in runs]
    scratch, pretrained = (row[start] for start in STARTS)
    row['gain'] = [
        after - before
        for before, after in zip(scratch, pretrained, strict=True)
    ]
    return row


def _table(dense: list[dict], pretraining: list[dict]) -> str:
    shown = summary.shown
    gains = summary.markdown_table(
        ['backbone', 'task', 'metric', *STARTS, 'gain'],
        [
            [
                *(row[key] for key in ('backbone', 'task', 'metric')),
                *(shown(row[start]) for start in STARTS),
                shown(row['gain'], signed=True),
            ]
            for row in dense
        ],
    )
    first_metrics = {
        (row['backbone'], row['task']): row for row in reversed(dense)
    }
    costs = summary.markdown_table(
        [
            'backbone',
            'pre-training accuracy',
            'seconds',
            *(f'{task}, seconds' for task in TASKS),
        ],
        [
            [
                row['backbone'],
                shown(row['accuracy']),
                shown(row['seconds'], digits=0),
                *(
                    shown(
                        first_metrics[row['backbone'], task][
                            'pre-trained, seconds'
                        ],
                        digits=0,
                    )
                    for task in TASKS
                ),
            ]
            for row in pretraining
        ],
    )
    return f'{gains}\n{costs}'


def _draw(dense: list[dict], path: Path) -> None:
    shown = [row for row in dense if row['metric'] in ('box AP', 'mIoU')]
    metrics = list(dict.fromkeys(row['metric'] for row in shown))
    with summary.figure(len(metrics), path) as panels:
        for axes, metric in zip(panels, metrics, strict=True):
            groups = {
                row['backbone']: {start: row[start] for start in STARTS}
                for row in shown
                if row['metric'] == metric
            }
            summary.draw_groups(axes, groups, f'{metric}, %')
            axes.set_ylim(bottom=0)
