# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What pre-training as a classifier is worth to detection and segmentation.

Each backbone is trained as a classifier on object crops, published, and then
trained on few images inside Mask R-CNN and UperNet; and the same from random
weights. The two differ in the initial weights alone.
"""

from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from mmengine.runner import CheckpointLoader, find_latest_checkpoint

from ..checkpoints import save_hashed, strip_checkpoint
from . import summary
from .runs import Run, execute

BACKBONES = {'iViT-N': 'ivit_n', 'FLatten-Swin-N': 'flatten_swin_n'}
TASKS = {'Mask R-CNN': 'mask_rcnn', 'UperNet': 'upernet'}
# iViT's own config of Mask R-CNN is the demo's, whose recipe is made to be
# quick. Here iViT gets the recipe of the other backbones.
LIKE_THE_OTHERS = {
    'mask_rcnn_ivit_n_shapes': (
        '_base_/mask_rcnn_n_shapes',
        {
            'model.backbone': dict(type='IViT', arch='n'),
            'model.neck.in_channels': [24, 48, 96, 128],
        },
    )
}
STARTS = ('scratch', 'pre-trained')
ACCURACY = 'accuracy/top1'
# Task, what the table calls the metric, mmengine's name, to percent.
METRICS = (
    ('Mask R-CNN', 'box AP', 'coco/bbox_mAP', 100),
    ('Mask R-CNN', 'box AP50', 'coco/bbox_mAP_50', 100),
    ('Mask R-CNN', 'mask AP', 'coco/segm_mAP', 100),
    ('UperNet', 'mIoU', 'mIoU', 1),
)


def _data(**settings: Any) -> dict[str, Any]:
    """The same data in all phases, read by the training's own process."""
    options: dict[str, Any] = {}
    for phase in ('train', 'val', 'test'):
        loader = f'{phase}_dataloader'
        options[f'{loader}.num_workers'] = 0
        options[f'{loader}.persistent_workers'] = False
        for name, value in settings.items():
            options[f'{loader}.dataset.{name}'] = value
    return options


def _length(key: str, length: int, warm_up: int = 0) -> dict[str, Any]:
    """Training that long, one cycle of the learning rate, one validation."""
    return {
        f'train_cfg.{key}': length,
        'train_cfg.val_interval': length,
        'param_scheduler.1.end': length,
        'param_scheduler.1.T_max': length - warm_up,
        'default_hooks.checkpoint.max_keep_ckpts': 2,
    }


# Scenes that neither the training nor the validation below has.
PRETRAINING = {
    **_data(data_root='data/shapes_pretrain', seed=1000),
    **_length('max_epochs', 10),
    'default_hooks.checkpoint.interval': 2,
}
_FEW = 'data/shapes_finetune'
_FEW_IMAGES = {
    **_data(data_root=_FEW, num_train=500),
    'train_dataloader.batch_size': 8,
}
FINE_TUNING = {
    'Mask R-CNN': {
        **_FEW_IMAGES,
        **_length('max_epochs', 5),
        'optim_wrapper.optimizer.lr': 0.004,
        'default_hooks.checkpoint.interval': 1,
        'val_evaluator.ann_file': f'{_FEW}/annotations/instances_val.json',
        'test_evaluator.ann_file': f'{_FEW}/annotations/instances_val.json',
    },
    'UperNet': {
        **_FEW_IMAGES,
        **_length('max_iters', 600, warm_up=60),
        'default_hooks.checkpoint.interval': 200,
    },
}


def list_runs(folder: Path, seeds: Sequence[int]) -> list[Run]:
    """All trainings, each seed's together, so that each can be looked at."""
    runs = []
    for seed in seeds:
        same_seed = {'randomness.seed': seed}
        for backbone, config in BACKBONES.items():
            first = _name(backbone, 'pre-training', seed)
            runs.append(
                Run(
                    first,
                    f'{config}_shapes',
                    {**PRETRAINING, **same_seed},
                    metric=ACCURACY,
                )
            )
            for task, head in TASKS.items():
                name = f'{head}_{config}_shapes'
                name, recipe = LIKE_THE_OTHERS.get(name, (name, {}))
                scratch, pretrained = (
                    partial(
                        Run,
                        _name(backbone, task, start, seed),
                        name,
                        {**recipe, **FINE_TUNING[task], **same_seed},
                        metric=next(m[2] for m in METRICS if m[0] == task),
                    )
                    for start in STARTS
                )
                runs.append(scratch())
                late = partial(_initial_weights, folder / first)
                runs.append(pretrained(needs=(first,), late_options=late))
    return runs


def _name(*parts: object) -> str:
    return '-'.join(map(str, parts)).lower().replace(' ', '-')


def _initial_weights(work_dir: Path) -> dict[str, Any]:
    """Publish a classifier's backbone, if need be, and say where it is."""
    path = next(filter(_is_whole, work_dir.glob('published-*.pth')), None)
    if path is None:
        content = CheckpointLoader.load_checkpoint(
            find_latest_checkpoint(work_dir),
            map_location='cpu',
            logger='silent',
        )
        path = save_hashed(strip_checkpoint(content), work_dir / 'published')
    init_cfg = dict(
        type='Pretrained', checkpoint=str(path), prefix='backbone.'
    )
    return {'model.backbone.init_cfg': init_cfg}


def _is_whole(path: Path) -> bool:
    digits = path.stem.rpartition('-')[2]
    return sha256(path.read_bytes()).hexdigest().startswith(digits)


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
        _compare(results, backbone, seeds, *metric)
        for backbone in BACKBONES
        for metric in METRICS
        if metric[0] in TASKS
    ]
    pretraining = [
        {
            'backbone': backbone,
            'accuracy': [run['metrics'][ACCURACY] for run in runs],
            'seconds': [run['seconds'] for run in runs],
        }
        for backbone in BACKBONES
        for runs in [_of(results, seeds, backbone, 'pre-training')]
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


def _of(results: dict, seeds: Sequence[int], *parts: str) -> list[dict]:
    return [results[_name(*parts, seed)] for seed in seeds]


def _compare(
    results: dict,
    backbone: str,
    seeds: Sequence[int],
    task: str,
    label: str,
    metric: str,
    percent: int,
) -> dict[str, Any]:
    """A row of the table: values by seed of both starts and their gain."""
    row: dict[str, Any] = {'backbone': backbone, 'task': task, 'metric': label}
    for start in STARTS:
        runs = _of(results, seeds, backbone, task, start)
        # COCO's metrics are absent where nothing was detected.
        row[start] = [
            percent * run['metrics'].get(metric, 0.0) for run in runs
        ]
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
