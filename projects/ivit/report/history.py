# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What mmengine wrote down during a training: losses and metrics."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

NOT_AVAILABLE = 'n/a'


@dataclass
class History:
    """The records of one run.

    Attributes:
        train: One dict for each logged training step: ``step``, ``lr`` and
            the losses, averaged by mmengine over its window.
        val: One dict for each evaluation: ``step`` (the epoch) and the COCO
            metrics, as in ``coco/bbox_mAP_50``.
    """

    train: list[dict[str, float]]
    val: list[dict[str, float]]

    @classmethod
    def read(cls, run_dir: str | Path) -> 'History':
        """Read ``vis_data/scalars.json`` of a run.

        Args:
            run_dir: mmengine's time-stamped folder, ``runner.log_dir``.

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
        )

    def metric(self, name: str) -> float | None:
        """A metric of the last evaluation.

        Args:
            name: Such as ``bbox_mAP_50``.

        Returns:
            Its value, or None if the evaluation does not have it: COCO gives
            -1 where there is no object to find, mmdet nothing at all where
            nothing was detected.
        """
        value = self.val[-1].get(f'coco/{name}') if self.val else None
        if value is None or value < 0 or math.isnan(value):
            return None
        return value

    def shown(self, name: str) -> str:
        """A metric of the last evaluation with three digits, or n/a."""
        value = self.metric(name)
        return NOT_AVAILABLE if value is None else f'{value:.3f}'
