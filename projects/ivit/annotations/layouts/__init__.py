# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The layouts that are recognised, one adapter a file."""

from . import coco
from .layout import Layout

LAYOUTS = (coco.LAYOUT,)

__all__ = ['LAYOUTS', 'Layout']
