# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Mask R-CNN and UperNet, trained on few images of the embedded data.

What studies of pre-training have in common: they differ in the weights that
these trainings start from.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.runner import CheckpointLoader, find_latest_checkpoint

from ..checkpoints import save_hashed, strip_checkpoint
from .runs import Run

TASKS = {'Mask R-CNN': 'mask_rcnn', 'UperNet': 'upernet'}
# iViT's own config of Mask R-CNN is the demo's, whose recipe is made to be
# quick. Here iViT gets the recipe of the other backbones.
LIKE_THE_OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    f'mask_rcnn_ivit_n_{data}': (
        f'_base_/mask_rcnn_n_{data}',
        {
            'model.backbone': dict(type='IViT', arch='n'),
            'model.neck.in_channels': [24, 48, 96, 128],
        },
    )
    for data in ('shapes', 'fractals')
}
DATA_ROOT = 'data/shapes_finetune'
MOST_IMAGES = 500
MAX_EPOCHS = 5  # of all images; more of fewer, for as many steps
BATCH_SIZE = 8


class Metric(NamedTuple):
    """A column or row of a table.

    Attributes:
        task: A key of ``TASKS``.
        label: What the table calls it.
        name: mmengine's name.
        percent: The factor to percent.
    """

    task: str
    label: str
    name: str
    percent: int


METRICS = (
    Metric('Mask R-CNN', 'box AP', 'coco/bbox_mAP', 100),
    Metric('Mask R-CNN', 'box AP50', 'coco/bbox_mAP_50', 100),
    Metric('Mask R-CNN', 'mask AP', 'coco/segm_mAP', 100),
    Metric('UperNet', 'mIoU', 'mIoU', 1),
)


def main_metric(task: str) -> Metric:
    """The first metric of a task."""
    return next(metric for metric in METRICS if metric.task == task)


def data_options(**settings: Any) -> dict[str, Any]:
    """The same data in all phases, read by the training's own process."""
    options: dict[str, Any] = {}
    for phase in ('train', 'val', 'test'):
        loader = f'{phase}_dataloader'
        options[f'{loader}.num_workers'] = 0
        options[f'{loader}.persistent_workers'] = False
        for name, value in settings.items():
            options[f'{loader}.dataset.{name}'] = value
    return options


def length_options(key: str, length: int, warm_up: int = 0) -> dict[str, Any]:
    """Training that long, one cycle of the learning rate, one validation."""
    return {
        f'train_cfg.{key}': length,
        'train_cfg.val_interval': length,
        'param_scheduler.1.end': length,
        'param_scheduler.1.T_max': length - warm_up,
        'default_hooks.checkpoint.max_keep_ckpts': 2,
    }


def fine_tuning(
    task: str, backbone: str, images: int = MOST_IMAGES
) -> tuple[str, dict[str, Any]]:
    """The training on few images, whatever it starts from.

    Args:
        task: A key of ``TASKS``.
        backbone: As configs are called, such as ``'ivit_n'``.
        images: The first so many of ``MOST_IMAGES``. The number of steps is
            the same for all numbers, but for the rest of an epoch.

    Returns:
        Name of a config, and changes to it.
    """
    name = f'{TASKS[task]}_{backbone}_shapes'
    name, recipe = LIKE_THE_OTHERS.get(name, (name, {}))
    options = {
        **recipe,
        **data_options(data_root=DATA_ROOT, num_train=MOST_IMAGES),
        'train_dataloader.batch_size': BATCH_SIZE,
    }
    if images < MOST_IMAGES:
        options['train_dataloader.dataset.indices'] = images
    if task == 'UperNet':
        options |= length_options('max_iters', 600, warm_up=60)
        options['default_hooks.checkpoint.interval'] = 200
    else:
        steps = MAX_EPOCHS * ceil(MOST_IMAGES / BATCH_SIZE)
        epochs = round(steps / ceil(images / BATCH_SIZE))
        ann_file = f'{DATA_ROOT}/annotations/instances_val.json'
        options |= length_options('max_epochs', epochs)
        options |= {
            'optim_wrapper.optimizer.lr': 0.004,
            'default_hooks.checkpoint.interval': max(1, epochs // MAX_EPOCHS),
            'val_evaluator.ann_file': ann_file,
            'test_evaluator.ann_file': ann_file,
        }
    return name, options


def run_name(*parts: object) -> str:
    """Name of a run, from what tells it from others."""
    return '-'.join(map(str, parts)).lower().replace(' ', '-')


def publish_latest(work_dir: Path) -> str:
    """Publish the model of a finished training, if need be.

    Returns:
        Path of the file.
    """
    path = next(filter(_is_whole, work_dir.glob('published-*.pth')), None)
    if path is None:
        content = CheckpointLoader.load_checkpoint(
            find_latest_checkpoint(work_dir),
            map_location='cpu',
            logger='silent',
        )
        path = save_hashed(strip_checkpoint(content), work_dir / 'published')
    return str(path)


def backbone_from(work_dir: Path) -> dict[str, Any]:
    """Options that start a training with the backbone of another one."""
    return start_backbone(publish_latest(work_dir), prefix='backbone.')


def start_backbone(checkpoint: str, **more: str) -> dict[str, Any]:
    """Options that start a training with weights for its backbone.

    Args:
        checkpoint: A path, or the name of weights that come with ivit.
        **more: Further keys of ``init_cfg``.
    """
    init_cfg = dict(type='Pretrained', checkpoint=checkpoint, **more)
    return {'model.backbone.init_cfg': init_cfg}


def _is_whole(path: Path) -> bool:
    digits = path.stem.rpartition('-')[2]
    return sha256(path.read_bytes()).hexdigest().startswith(digits)


def results_of(
    results: Mapping[str, dict], seeds: Sequence[int], *parts: object
) -> list[dict]:
    """The results of the same run with each seed."""
    return [results[run_name(*parts, seed)] for seed in seeds]


def values_of(metric: Metric, runs: Sequence[dict]) -> list[float]:
    """A metric of each run, in percent.

    COCO's metrics are absent where nothing was detected: 0.
    """
    return [
        metric.percent * run['metrics'].get(metric.name, 0.0) for run in runs
    ]


def finetuned(
    name: str,
    task: str,
    recipe: tuple[str, dict[str, Any]],
    seed: int,
    **more: Any,
) -> Run:
    """A run of :func:`fine_tuning`.

    Args:
        name: Name of the run.
        task: A key of ``TASKS``.
        recipe: What :func:`fine_tuning` returned.
        seed: Seed of the heads, the order of images and flips.
        **more: Other fields of the run.
    """
    config, options = recipe
    return Run(
        name,
        config,
        {**options, **more.pop('options', {}), 'randomness.seed': seed},
        metric=main_metric(task).name,
        **more,
    )
