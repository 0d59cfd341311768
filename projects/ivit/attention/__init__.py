# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Attentions over maps of any size; this room needs torch alone.

Linear in the number of tokens: :class:`InteractiveAttention` (iMHSA, arXiv
2402.17507) and :class:`FocusedLinearAttention` (arXiv 2308.00442). The others
are the softmax attentions of Swin, PVT and CSwin.
"""

from .focused import (
    focused_linear_attention,
    use_implementation,
)
from .focused.modules import (
    FocusedLinearAttention,
    FocusedLinearAttentionBase,
    FocusedLinearAttentionCSwin,
    FocusedLinearAttentionPVT,
)
from .focused.naive import focused_map
from .interactive import (
    InteractiveAttention,
    decomposed_attention,
    interactive_attention,
)
from .layers import PointwiseLinear, depthwise_conv
from .position import ResizedTable, resize_table
from .reduction import SpatialReductionAttention
from .stripe import StripeAttention
from .tokens import to_maps
from .window import (
    WindowAttention,
    merge_windows,
    split_windows,
    window_attention,
    window_regions,
)

__all__ = [
    'FocusedLinearAttention',
    'FocusedLinearAttentionBase',
    'FocusedLinearAttentionCSwin',
    'FocusedLinearAttentionPVT',
    'InteractiveAttention',
    'PointwiseLinear',
    'ResizedTable',
    'SpatialReductionAttention',
    'StripeAttention',
    'WindowAttention',
    'decomposed_attention',
    'depthwise_conv',
    'focused_linear_attention',
    'focused_map',
    'interactive_attention',
    'merge_windows',
    'resize_table',
    'split_windows',
    'to_maps',
    'use_implementation',
    'window_attention',
    'window_regions',
]
