# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Keep what others log about their own doings from the reader."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.logging import MMLogger


@contextmanager
def only_warnings(*names: str) -> Iterator[None]:
    """Silence a log below warnings.

    Args:
        *names: Names of loggers; mmengine's own by default, which names how
            every single parameter began.
    """
    loggers = [logging.getLogger(name) for name in names]
    loggers = loggers or [MMLogger.get_current_instance()]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(max(logger.level, logging.WARNING))
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
