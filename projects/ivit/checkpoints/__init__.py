# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What happens when weights are loaded."""

from .strict import register_strict_loading

__all__ = ['register_strict_loading']
