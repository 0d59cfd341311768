#!/usr/bin/env python
# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Train and evaluate a small Mask R-CNN and write a report about it.

The report is work_dirs/demo/report.html. Each run has a folder of its own
beside it, with the log, the checkpoint and a copy of its report.
"""

import time

PROCESS_START = time.time()

# ruff: noqa: E402
import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'projects'))

import torch
from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from ivit import engine, report

CONFIG = 'configs/mask_rcnn_ivit_n_shapes.py'


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--since',
        type=float,
        default=PROCESS_START,
        metavar='SECONDS',
        help='when the set-up began, as `date +%%s` gives it (default: now)',
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=ROOT / 'work_dirs' / 'demo',
        help='folder for report and runs (default: %(default)s)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='change the config: a.b=1 c="[1,2]"',
    )
    return parser.parse_args()


def make_report(runner: Runner, stopwatch: report.Stopwatch) -> tuple:
    """Return the page about a finished run, and the history it shows."""
    history = report.History.read(runner.log_dir)
    dataset = runner.val_dataloader.dataset
    samples = report.collect_samples(runner.model, dataset)
    page = report.build_page(
        history,
        samples,
        report.collect_facts(runner, stopwatch),
        dataset.metainfo['classes'],
        dataset.metainfo['palette'],
    )
    return page, history


def main() -> None:
    """Train, evaluate, report."""
    args = parse_args()
    called_from = Path.cwd()
    work_dir = args.work_dir.absolute()
    os.chdir(ROOT)  # the config's data folder is relative to it
    # The operations are small. Two threads gain little on an idle machine, and
    # wait for one another where other programs run.
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', 1)))
    cfg = Config.fromfile(CONFIG)
    # Of the APs per class mmdet keeps those of the metric named last.
    cfg.val_evaluator.update(metric=['segm', 'bbox'], classwise=True)
    cfg.merge_from_dict(args.cfg_options)
    run_name = time.strftime('%Y%m%d_%H%M%S', time.localtime(PROCESS_START))
    run_dir = work_dir / run_name
    cfg.work_dir = str(run_dir)
    stopwatch = report.Stopwatch(args.since, PROCESS_START)
    with engine.one_line_errors(), engine.ProgressBar() as bar:
        runner = Runner.from_cfg(cfg)
        runner.register_hook(stopwatch)
        runner.register_hook(bar)
        runner.train()
        page, history = make_report(runner, stopwatch)
    report.write_page(page, run_dir / 'report.html')
    path = work_dir / 'report.html'
    report.write_page(page, path)
    if path.is_relative_to(called_from):
        path = path.relative_to(called_from)
    print(
        f'demo: box_AP50={history.shown("bbox_mAP_50")} '
        f'mask_AP50={history.shown("segm_mAP_50")} '
        f'seconds={stopwatch.total():.0f} report={path}'
    )


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit('demo: interrupted, no report written')
