# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Attention that is linear in the number of tokens."""

from .depthwise import depthwise_conv
from .focused import (
    FocusedAttention,
    FocusedLinearAttention,
    FocusedLinearAttentionPVT,
    focused_linear_attention,
)
from .focused_eager import focused_map
from .interactive import (
    InteractiveAttention,
    decomposed_attention,
    interactive_attention,
)
from .pointwise import PointwiseLinear
from .position import ResizedTable, resize_table
from .tokens import to_maps
from .window import (
    merge_windows,
    split_windows,
    window_attention,
    window_regions,
)

__all__ = [
    'FocusedAttention',
    'FocusedLinearAttention',
    'FocusedLinearAttentionPVT',
    'InteractiveAttention',
    'PointwiseLinear',
    'ResizedTable',
    'decomposed_attention',
    'depthwise_conv',
    'focused_linear_attention',
    'focused_map',
    'interactive_attention',
    'merge_windows',
    'resize_table',
    'split_windows',
    'to_maps',
    'window_attention',
    'window_regions',
]
