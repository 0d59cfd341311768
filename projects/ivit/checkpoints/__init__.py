# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What happens when weights are loaded."""

from .families import describe
from .files import check_checkpoint_file
from .official import register_official_loading, unwrap
from .strict import register_strict_loading

__all__ = [
    'check_checkpoint_file',
    'describe',
    'register_official_loading',
    'register_strict_loading',
    'unwrap',
]
