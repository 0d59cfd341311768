# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Whether pre-training on fractals helps to detect and segment shapes.

Mask R-CNN and UperNet on iViT-N are trained on few images of the embedded
scenes, from random weights and after three kinds of pre-training. A curve
shows what more drawings of fractals, or drawings of one fractal, give. The
trainings that are compared differ in the initial weights alone.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..checkpoints import shipped_weights
from . import summary
from .few_images import (
    LIKE_THE_OTHERS,
    METRICS,
    TASKS,
    backbone_from,
    data_options,
    fine_tuning,
    finetuned,
    length_options,
    main_metric,
    publish_latest,
    results_of,
    run_name,
    start_backbone,
    values_of,
)
from .runs import Run, execute
from .transfer import ACCURACY, pretraining

BACKBONE = 'ivit_n'
IMAGES = (50, 200, 500)
SCRATCH, FRACTALS = 'scratch', 'fractals'
SCENES, SHAPES = 'scenes of fractals', 'shapes classifier'
STARTS = (SCRATCH, FRACTALS, SCENES, SHAPES)
# The classifier that comes with ivit, and what the curve has beside it: a
# config, and thousand drawings that it saw.
SHIPPED = 'ivit_n_fractals'
SHORTER = (
    ('ivit_n_fractals', 50),
    ('ivit_n_fractals', 200),
    ('ivit_n_one_fractal', 200),
)
CURVE_TASK, CURVE_IMAGES = 'Mask R-CNN', 200
DRAWINGS = 25  # thousand in an epoch of these configs
ON_SCENES = {
    'Mask R-CNN': length_options('max_epochs', 3),
    'UperNet': length_options('max_iters', 1500, warm_up=60),
}
PRETRAINING_SEED = 0  # of all: the seeds are those of the fine-tuning


def list_runs(folder: Path, seeds: Sequence[int]) -> list[Run]:
    """The pre-trainings, then what starts from them, seed by seed."""
    runs = [_classifier(*point) for point in SHORTER]
    runs += [_on_scenes(task) for task in TASKS]
    runs.append(pretraining(run_name(SHAPES), BACKBONE, PRETRAINING_SEED))
    for seed in seeds:
        for task in TASKS:
            for images in IMAGES:
                recipe = fine_tuning(task, BACKBONE, images)
                for start in STARTS:
                    name = run_name(task, images, start, seed)
                    after = _after(folder, task, start)
                    runs.append(finetuned(name, task, recipe, seed, **after))
        recipe = fine_tuning(CURVE_TASK, BACKBONE, CURVE_IMAGES)
        for point in SHORTER:
            name = run_name('curve', *point, seed)
            after = _after_classifier(folder, run_name(*point))
            runs.append(finetuned(name, CURVE_TASK, recipe, seed, **after))
    return runs


def _classifier(config: str, drawings: int) -> Run:
    """A classifier of fractals, with one cycle of the learning rate."""
    options = {
        **data_options(),
        **length_options('max_epochs', drawings // DRAWINGS, warm_up=1),
        'randomness.seed': PRETRAINING_SEED,
    }
    return Run(run_name(config, drawings), config, options, metric=ACCURACY)


def _on_scenes(task: str) -> Run:
    """A whole model, on scenes of fractals."""
    name = f'{TASKS[task]}_{BACKBONE}_fractals'
    config, recipe = LIKE_THE_OTHERS.get(name, (name, {}))
    options = {
        **recipe,
        **data_options(),
        **ON_SCENES[task],
        'randomness.seed': PRETRAINING_SEED,
    }
    return Run(
        run_name(SCENES, task), config, options, metric=main_metric(task).name
    )


def _after(folder: Path, task: str, start: str) -> dict[str, Any]:
    """What a run needs, and the options that its start gives it."""
    if start == SCRATCH:
        return {}
    if start == FRACTALS:
        return dict(options=start_backbone(SHIPPED))
    if start == SCENES:
        first = run_name(SCENES, task)
        late = partial(_model_from, folder / first)
        return dict(needs=(first,), late_options=late)
    return _after_classifier(folder, run_name(SHAPES))


def _after_classifier(folder: Path, first: str) -> dict[str, Any]:
    late = partial(backbone_from, folder / first)
    return dict(needs=(first,), late_options=late)


def _model_from(work_dir: Path) -> dict[str, Any]:
    """Options that start a training with a whole model for other classes."""
    return {'load_from': publish_latest(work_dir)}


def run_study(folder: Path, seeds: Sequence[int], jobs: int) -> str:
    """Do what is left of the study and write down what came out.

    Args:
        folder: For the work dirs, ``results.json``, ``table.md`` and
            ``plot.png``.
        seeds: One grid of fine-tunings for each.
        jobs: Trainings at once.

    Returns:
        The tables, in Markdown.

    Raises:
        ValueError: See :func:`.runs.execute`, as for ``RunFailed``.
    """
    folder = Path(folder).absolute()
    results = execute(list_runs(folder, seeds), folder, jobs)
    rows = _compare(results, seeds)
    curve = _follow(results, seeds)
    table = f'{_table(rows)}\n{_curve_table(curve)}'
    summary.write_results(
        folder,
        {
            'seeds': list(seeds),
            'rows': rows,
            'curve': curve,
            'runs': results,
        },
        table,
    )
    _draw(rows, folder / 'plot.png')
    return table


def _compare(
    results: Mapping[str, dict], seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Values by seed of every metric, number of images and start."""
    return [
        {
            'task': metric.task,
            'metric': metric.label,
            'images': images,
            **{
                start: values_of(
                    metric,
                    results_of(results, seeds, metric.task, images, start),
                )
                for start in STARTS
            },
        }
        for metric in METRICS
        for images in IMAGES
    ]


def _follow(
    results: Mapping[str, dict], seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """The points of the curve; the longest is in the other table too."""
    metric = main_metric(CURVE_TASK)
    points = [
        {
            'config': config,
            'drawings': 1000 * drawings,
            'accuracy': results[run_name(config, drawings)]['metrics'][
                ACCURACY
            ],
            metric.label: values_of(
                metric, results_of(results, seeds, 'curve', config, drawings)
            ),
        }
        for config, drawings in SHORTER
    ]
    weights = shipped_weights()[SHIPPED]
    parts = (CURVE_TASK, CURVE_IMAGES, FRACTALS)
    shipped = {
        'config': weights.config,
        'drawings': weights.samples,
        'accuracy': weights.accuracy,
        metric.label: values_of(metric, results_of(results, seeds, *parts)),
    }
    return [*points, shipped]


def _table(rows: Sequence[dict[str, Any]]) -> str:
    return summary.markdown_table(
        ['task', 'metric', 'images', *STARTS],
        [
            [
                row['task'],
                row['metric'],
                row['images'],
                *(_with_gain(row, start) for start in STARTS),
            ]
            for row in rows
        ],
    )


def _with_gain(row: Mapping[str, Any], start: str) -> str:
    """A value, and what it is above that of random weights."""
    text = summary.shown(row[start])
    if start == SCRATCH:
        return text
    mean, _ = summary.mean_std(row[start])
    base, _ = summary.mean_std(row[SCRATCH])
    return f'{text} ({mean - base:+.1f})'


def _curve_table(curve: Sequence[dict[str, Any]]) -> str:
    label = main_metric(CURVE_TASK).label
    return summary.markdown_table(
        [
            'classifier',
            'drawings seen',
            'its accuracy',
            f'{CURVE_TASK}, {CURVE_IMAGES} images: {label}',
        ],
        [
            [
                f'`{point["config"]}`',
                f'{point["drawings"]:,}',
                f'{point["accuracy"]:.1f}',
                summary.shown(point[label]),
            ]
            for point in curve
        ],
    )


def _draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """A panel for each task: its first metric by number of images."""
    with summary.figure(len(TASKS), path) as panels:
        for axes, task in zip(panels, TASKS, strict=True):
            metric = main_metric(task)
            groups = {
                f'{row["images"]} images': {
                    start: row[start] for start in STARTS
                }
                for row in rows
                if (row['task'], row['metric']) == (task, metric.label)
            }
            summary.draw_groups(axes, groups, f'{task}: {metric.label}, %')
            axes.set_ylim(bottom=0)
