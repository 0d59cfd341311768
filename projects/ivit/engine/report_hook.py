# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Write the report of a training when it is over."""

import copy
import logging
import time
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..nested import as_list, class_name
from .stopwatch import Stopwatch

FILE = 'report.html'
LOCAL = 'LocalVisBackend'  # writes what the report reads


@HOOKS.register_module()
class ReportHook(Stopwatch):
    """Writes ``report.html`` after training, in the main process.

    The page lies beside the log, in the time-stamped folder of the run, and
    a copy of the latest one in the work dir. A report that cannot be written
    is a warning in the log: the training has done its work.
    """

    priority = 'LOWEST'  # after the last logs and checkpoints

    def __init__(self) -> None:
        now = time.time()
        super().__init__(since=now, process_start=now)

    def before_run(self, runner: Runner) -> None:
        """See to it that losses and metrics are written to the run's folder.

        A visualizer of one name is one object in a process: a second training
        gets that of the first one, which writes to the folder of that one.
        """
        if Path(runner.log_dir, 'vis_data').is_dir():
            return
        options = copy.deepcopy(runner.cfg.get('visualizer') or {})
        backends = as_list(options.get('vis_backends'))
        if LOCAL not in map(class_name, backends):
            backends.append(dict(type=LOCAL))
        meta = runner.visualizer.dataset_meta
        runner.visualizer = runner.build_visualizer(
            dict(
                type=options.get('type', 'Visualizer'),
                vis_backends=backends,
            )
        )
        runner.visualizer.dataset_meta = meta

    def before_train(self, runner: Runner) -> None:
        """Training starts, or goes on from a checkpoint."""
        super().before_train(runner)
        self._first_step = runner.iter

    def after_train(self, runner: Runner) -> None:
        """Write the report."""
        super().after_train(runner)
        if not is_main_process() or runner.iter == self._first_step:
            return  # of a resumed training that was over there is no news
        try:
            # Matplotlib and scikit-image are for those who want a page.
            from .. import report

            own, latest = Path(runner.log_dir), Path(runner.work_dir)
            report.write_report(runner, own / FILE, self)
            page = (own / FILE).read_text(encoding='utf-8')
            report.write_page(page, latest / FILE)
        except Exception as error:
            print_log(
                f'no {FILE} in {runner.work_dir}: '
                f'{type(error).__name__}: {error}',
                logger='current',
                level=logging.WARNING,
            )
            return
        print_log(f'The report is {latest / FILE}', logger='current')
