# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Replace mmengine's loaders of checkpoints by those that check the file."""

from collections.abc import Callable
from typing import Any

from mmengine.runner.checkpoint import CheckpointLoader

from .download import load_from_http
from .files import load_from_local

# mmengine chooses a loader by what the path begins with.
LOADERS: dict[str, Callable[..., Any]] = {
    '': load_from_local,
    'http://': load_from_http,
    'https://': load_from_http,
}
_replaced: dict[str, Callable[..., Any]] = {}


def install_loaders() -> None:
    """Make mmengine load local files and web addresses with ivit's loaders.

    ``import ivit`` calls it. Calling it again changes nothing.
    """
    for prefix, loader in LOADERS.items():
        current = CheckpointLoader._schemes[prefix]
        if current is not loader:
            _replaced[prefix] = current
            CheckpointLoader.register_scheme(prefix, loader, force=True)


def uninstall_loaders() -> None:
    """Give mmengine back the loaders that it had before.

    A loader that was registered after ivit's stays. Calling it again changes
    nothing.
    """
    for prefix, loader in LOADERS.items():
        if CheckpointLoader._schemes[prefix] is loader:
            CheckpointLoader.register_scheme(
                prefix, _replaced[prefix], force=True
            )
