# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The layouts that are recognised, one adapter a file."""

from .layout import Layout

__all__ = ['Layout']
