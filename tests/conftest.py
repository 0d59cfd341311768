# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What holds for every test."""

from collections.abc import Iterator

import pytest
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def no_scope_is_left() -> Iterator[None]:
    """Runners and inferencers set mmengine's default scope for good.

    A class that the next test builds by name would be looked for there.
    """
    yield
    DefaultScope._instance_dict.clear()
