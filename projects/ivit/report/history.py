# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What mmengine wrote down during a training: losses and metrics."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mmengine.hooks import LoggerHook
from mmengine.runner import Runner

NOT_AVAILABLE = 'n/a'
# What a record of an evaluation has beside metrics.
NO_METRICS = ('step', 'time', 'data_time', 'epoch', 'iter', 'memory')


@dataclass
class History:
    """The records of one run.

    Attributes:
        train: One dict for each logged training step: ``step``, ``lr`` and
            the losses, averaged by mmengine over its window.
        val: One dict for each evaluation: ``step`` and the metrics by
            mmengine's names, as in ``coco/bbox_mAP_50`` or ``mIoU``.
        unit: What the steps of ``val`` count: epochs or iterations.
    """

    train: list[dict[str, float]]
    val: list[dict[str, float]]
    unit: Literal['epoch', 'iteration'] = 'epoch'

    @classmethod
    def read(
        cls,
        run_dir: str | Path,
        unit: Literal['epoch', 'iteration'] = 'epoch',
    ) -> 'History':
        """Read ``vis_data/scalars.json`` of a run.

        Args:
            run_dir: mmengine's time-stamped folder, ``runner.log_dir``.
            unit: What the steps of evaluations count.

        Raises:
            ValueError: If the file is not there.
        """
        path = Path(run_dir, 'vis_data', 'scalars.json')
        if not path.is_file():
            raise ValueError(
                f'{path} not found. Training writes it into its time-stamped '
                'folder if vis_backends of the config has LocalVisBackend.'
            )
        records = [json.loads(line) for line in path.read_text().splitlines()]
        return cls(
            train=[record for record in records if 'loss' in record],
            val=[record for record in records if 'loss' not in record],
            unit=unit,
        )

    @classmethod
    def of_runner(cls, runner: Runner) -> 'History':
        """Read what a runner has logged, in the unit that it logged it.

        Raises:
            ValueError: If there is no file of it.
        """
        by_epoch = all(
            hook.log_metric_by_epoch
            for hook in runner.hooks
            if isinstance(hook, LoggerHook)
        )
        return cls.read(runner.log_dir, 'epoch' if by_epoch else 'iteration')

    def names(self) -> list[str]:
        """The metrics of all evaluations, in the order they were logged."""
        found = {name: None for record in self.val for name in record}
        return [name for name in found if name not in NO_METRICS]

    def metric(self, name: str) -> float | None:
        """A metric of the last evaluation.

        Args:
            name: Such as ``coco/bbox_mAP_50`` or ``mIoU``.

        Returns:
            Its value, or None if the evaluation does not have it: COCO gives
            -1 where there is no object to find, mmdet nothing at all where
            nothing was detected.
        """
        value = self.val[-1].get(name) if self.val else None
        if value is None or value < 0 or math.isnan(value):
            return None
        return value

    def shown(self, name: str, digits: int = 3) -> str:
        """A metric of the last evaluation with some digits, or n/a."""
        value = self.metric(name)
        return NOT_AVAILABLE if value is None else f'{value:.{digits}f}'
