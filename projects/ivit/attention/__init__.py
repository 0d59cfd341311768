# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Attention that is linear in the number of tokens."""

from .interactive import (
    InteractiveAttention,
    decomposed_attention,
    full_attention,
)
from .pointwise import PointwiseLinear

__all__ = [
    'InteractiveAttention',
    'PointwiseLinear',
    'decomposed_attention',
    'full_attention',
]
