# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The layouts that are recognised, one adapter a file."""

from . import class_folders, coco, label_folders, voc, yolo
from .layout import Layout

#: In the order in which messages name them.
LAYOUTS = (
    coco.LAYOUT,
    yolo.LAYOUT,
    voc.BOXES,
    voc.MASKS,
    label_folders.LAYOUT,
    class_folders.LAYOUT,
)

__all__ = ['LAYOUTS', 'Layout']
