# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Time and memory of backbones and attentions, for tools/benchmark.py."""

from .attention import CORES, NAMES, SWEEP, TOKENS, AttentionWork, sweep
from .compare import Result, Row, compare
from .models import BackboneWork, backbone_names, build_backbone
from .output import markdown, write

__all__ = [
    'CORES',
    'NAMES',
    'SWEEP',
    'TOKENS',
    'AttentionWork',
    'BackboneWork',
    'Result',
    'Row',
    'backbone_names',
    'build_backbone',
    'compare',
    'markdown',
    'sweep',
    'write',
]
