# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""A finished run as an object that predicts."""

from .images import ImageError, ImageLike
from .load import load
from .model import Model
from .results import Classification, Detections, LabelMap, Result
from .run import Run

__all__ = [
    'Classification',
    'Detections',
    'ImageError',
    'ImageLike',
    'LabelMap',
    'Model',
    'Result',
    'Run',
    'load',
]
