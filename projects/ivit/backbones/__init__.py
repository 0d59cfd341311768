# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Backbones, registered in mmengine's root registry."""

from .flatten_cswin import FLattenCSwin
from .flatten_pvt import FLattenPVT
from .flatten_pvt_v2 import FLattenPVTv2
from .flatten_swin import FLattenSwin
from .ivit import IViT
from .vit import FLattenDeiT, PlainViT

__all__ = [
    'FLattenCSwin',
    'FLattenDeiT',
    'FLattenPVT',
    'FLattenPVTv2',
    'FLattenSwin',
    'IViT',
    'PlainViT',
]
