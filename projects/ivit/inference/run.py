# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Where a finished training lies."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        work_dir: The folder with its logs and checkpoints.
        config: Its complete config, which works by itself.
    """

    work_dir: Path
    config: Path
