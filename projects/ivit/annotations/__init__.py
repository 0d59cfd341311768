# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""A user's own annotated images: layouts, checks, and what they come down to."""

from .faults import Fault, FaultKind, Faults
from .label_maps import IGNORED, LabelEncoding
from .records import (
    AnnotatedData,
    ClassificationSplit,
    DetectionSplit,
    SegmentationSplit,
    Split,
    Task,
)

__all__ = [
    'IGNORED',
    'AnnotatedData',
    'ClassificationSplit',
    'DetectionSplit',
    'Fault',
    'FaultKind',
    'Faults',
    'LabelEncoding',
    'SegmentationSplit',
    'Split',
    'Task',
]
