# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Where a training is, for someone who looks on."""

import logging
import sys
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)


class ProgressBar(Hook):
    """A bar for training, one for evaluation, each with the time left.

    On a terminal the bars move below mmengine's log lines. In a log file they
    are one line each at the end. The hook is a context manager around
    ``runner.train()``, so that the terminal is put in order after an error
    too.

    Example:
        >>> with ProgressBar() as bar:
        ...     runner.register_hook(bar)
        ...     runner.train()
    """

    def __init__(self) -> None:
        # Without a thread of its own: data workers are forked meanwhile.
        self._progress = Progress(
            TextColumn('{task.description}'),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn('left'),
            auto_refresh=False,
        )
        self._streams: list[tuple[logging.StreamHandler, Any]] = []

    def __enter__(self) -> 'ProgressBar':
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()
        for handler, stream in self._streams:
            handler.setStream(stream)
        self._streams.clear()

    def before_train(self, runner: Runner) -> None:
        """Show the bars: the data sets, which have one too, are there."""
        self._progress.start()
        # rich writes above the bars what comes by sys.stdout, and only that.
        for handler in runner.logger.handlers:
            if type(handler) is logging.StreamHandler:
                self._streams.append((handler, handler.stream))
                handler.setStream(sys.stdout)
        self._training = self._progress.add_task(
            'Training', total=runner.max_iters, completed=runner.iter
        )
        self._evaluation = self._progress.add_task('Evaluation', visible=False)

    def after_train_iter(self, runner: Runner, *args: Any, **kw: Any) -> None:
        """A training step is done."""
        self._progress.advance(self._training)
        self._progress.refresh()

    def before_val(self, runner: Runner) -> None:
        """An evaluation starts; there may be several."""
        self._progress.reset(
            self._evaluation, total=len(runner.val_dataloader), visible=True
        )

    def after_val_iter(self, runner: Runner, *args: Any, **kw: Any) -> None:
        """A batch is predicted."""
        self._progress.advance(self._evaluation)
        self._progress.refresh()
