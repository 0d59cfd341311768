# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Train and evaluate a small Mask R-CNN and write a report about it.

The report is work_dirs/demo/report.html. Each run has a folder of its own
beside it, with the log, the checkpoint and a copy of its report.
"""

import argparse
import html
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from .. import engine, report
from ..frameworks import require
from .parser import Parser

CONFIG = 'mask_rcnn_ivit_n_shapes'
WEIGHTS = 'ivit_n_fractals'
# Half of the steps do with them.
SHORTER = {
    'pretrained': WEIGHTS,
    'train_dataloader.dataset.indices': 1500,
    'train_cfg.max_epochs': 2,
    'train_cfg.val_interval': 2,
    'param_scheduler.1.end': 2,
    'param_scheduler.1.T_max': 2,
    'default_hooks.checkpoint.interval': 2,
}
TITLE = 'Mask R-CNN on an iViT backbone: the ivit demo'
INTRODUCTION = """\
<p>A small detector, trained from {start} on textured shapes that the demo drew
itself, and evaluated with COCO's metrics on images it was not trained on.</p>
<p><strong>What the numbers say:</strong> that backbone, heads, training and
evaluation work together on this machine. They were measured on the embedded
data set <code>shapes</code>, which is procedural and easy; they are not COCO
results and cannot be compared with any.</p>"""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser('ivit demo', __doc__)
    parser.add_argument(
        '--since',
        type=float,
        metavar='SECONDS',
        help='when the set-up began, as `date +%%s` gives it; by default '
        'when the process began',
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/demo'),
        help='folder for report and runs (default: %(default)s)',
    )
    parser.add_argument(
        '--from-scratch',
        action='store_true',
        help='begin with random weights instead of those that come with '
        'ivit, and train for twice as many steps',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='change the config: a.b=1 c="[1,2]"',
    )
    return parser.parse_args(argv)


def process_start() -> float:
    """When this process began, or rather imported ``logging``, its first."""
    record = logging.makeLogRecord({})
    return record.created - record.relativeCreated / 1000


def run(args: argparse.Namespace) -> str:
    """Train, evaluate, report, and return the line that sums it up."""
    require('mmdet', 'ivit demo')
    started = process_start()
    # The operations are small. Two threads gain little on an idle machine, and
    # wait for one another where other programs run.
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', 1)))
    options = {} if args.from_scratch else SHORTER
    run_name = time.strftime('%Y%m%d_%H%M%S', time.localtime(started))
    run_dir = args.work_dir / run_name
    cfg = engine.load_config(CONFIG, options | args.cfg_options, run_dir)
    stopwatch = report.Stopwatch(args.since or started, started)
    with engine.ProgressBar() as bar:
        runner = Runner.from_cfg(cfg)
        runner.register_hook(stopwatch)
        runner.register_hook(bar)
        runner.train()
    page, history = report.make_page(runner, stopwatch)
    page.title = TITLE
    page.introduction = INTRODUCTION.format(start=tell_start(cfg))
    text = page.html()
    report.write_page(text, run_dir / 'report.html')
    path = args.work_dir / 'report.html'
    report.write_page(text, path)
    return (
        f'demo: box_AP50={history.shown("coco/bbox_mAP_50")} '
        f'mask_AP50={history.shown("coco/segm_mAP_50")} '
        f'seconds={stopwatch.total():.0f} report={path}'
    )


def tell_start(cfg: Config) -> str:
    """What the training began with, in HTML."""
    if not engine.has_initial_weights(cfg):
        return 'random weights'
    return (
        f'weights that were learnt from pictures of formulas, without a '
        f'photograph (<code>{html.escape(engine.tell_initial_weights(cfg))}'
        '</code>),'
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the demo and print its line."""
    args = parse_args(argv)
    try:
        with engine.one_line_errors():
            print(run(args))
    except KeyboardInterrupt:
        sys.exit('demo: interrupted, no report written')
