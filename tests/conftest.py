# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What holds for every test."""

from collections.abc import Callable, Iterator
from functools import cache

import mmengine
import pytest
from mmengine.registry import DefaultScope
from mmengine.utils import ManagerMixin


@pytest.fixture(autouse=True, scope='session')
def metafiles_are_read_once() -> Iterator[None]:
    """For every ``mmdet::`` in a config mmengine reads a hundred of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.config.utils.load', cache(mmengine.load))
        yield


@pytest.fixture(autouse=True)
def no_scope_is_left() -> Iterator[None]:
    """Runners and inferencers set mmengine's default scope for good.

    A class that the next test builds by name would be looked for there.
    """
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='session')
def forget_globals() -> Callable[[], None]:
    """Forget the scope, loggers and so on that a runner leaves.

    The next one would share them by their name, which has the time in it.
    """

    def forget(manager: type = ManagerMixin) -> None:
        manager._instance_dict.clear()
        for child in manager.__subclasses__():
            forget(child)

    return forget
