# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What a smaller file costs and gains, against the file it was made of."""

from collections.abc import Sequence
from contextlib import redirect_stdout
from copy import deepcopy
from functools import partial
from io import StringIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from mmengine.config import Config

from ..benchmark.timing import interleave
from ..engine import build_runner
from ..quiet import only_warnings
from .model import use_file
from .session import Session

ROUNDS = 5


def evaluate(cfg: Config, path: Path) -> dict[str, float]:
    """The metrics of a file, by the config's own evaluator.

    Args:
        cfg: The config of an experiment, whose test data is there.
        path: A file that ``ivit export`` wrote.

    Returns:
        Numbers by mmengine's names.
    """
    cfg = deepcopy(cfg)
    with TemporaryDirectory() as work_dir:
        cfg.work_dir = work_dir
        use_file(cfg, str(path))
        runner = build_runner(cfg, whole_checkpoint=True)
        # pycocotools prints.
        with only_warnings(), redirect_stdout(StringIO()):
            return runner.test()


def time_both(
    path: Path, smaller: Path, images: Sequence[np.ndarray]
) -> tuple[float, float]:
    """Seconds for all images, one by one, in turns.

    Args:
        path: A file.
        smaller: Another one, of another name.
        images: RGB, ``(B, 3, H, W)`` of uint8.

    Returns:
        The median of the rounds for each.
    """
    passes = {
        file.name: partial(_run_all, Session(file), images)
        for file in (path, smaller)
    }
    seconds = interleave(passes, ROUNDS, 'cpu')
    return median(seconds[path.name]), median(seconds[smaller.name])


def _run_all(session: Session, images: Sequence[np.ndarray]) -> None:
    for image in images:
        session.run(image)
