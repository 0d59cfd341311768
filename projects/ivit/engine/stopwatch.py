# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""How long the parts of a training take."""

import time

from mmengine.hooks import Hook
from mmengine.runner import Runner


class Stopwatch(Hook):
    """Measures a run with a training that evaluates now and then.

    Args:
        since: When the set-up began, in seconds since the epoch.
        process_start: When this process began, likewise.
    """

    def __init__(self, since: float, process_start: float) -> None:
        self.since = since
        self.process_start = process_start
        self.evaluation = 0.0
        self.evaluations = 0

    def before_train(self, runner: Runner) -> None:
        """Training starts; the data is there and the model is built."""
        self._train_start = time.time()

    def after_train(self, runner: Runner) -> None:
        """Training is over, its last evaluation included."""
        self._train_end = time.time()

    def before_val(self, runner: Runner) -> None:
        """An evaluation starts."""
        self._val_start = time.time()

    def after_val(self, runner: Runner) -> None:
        """An evaluation is over."""
        self.evaluation += time.time() - self._val_start
        self.evaluations += 1

    def total(self) -> float:
        """Seconds since the beginning."""
        return time.time() - self.since

    def facts(self) -> dict[str, str]:
        """The time each part took; no installation if there was none."""
        training = self._train_end - self._train_start - self.evaluation
        preparation = self._train_start - self.process_start
        times = {
            'Installation': self.process_start - self.since,
            'Data and model': preparation,
            'Training': training,
            f'Evaluation ({self.evaluations} times)': self.evaluation,
            'Total until this page': self.total(),
        }
        if self.since == self.process_start:
            del times['Installation']
        return {name: _duration(times[name]) for name in times}


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f'{minutes} min {seconds:02d} s' if minutes else f'{seconds} s'
