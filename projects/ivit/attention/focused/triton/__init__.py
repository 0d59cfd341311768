# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Focused linear attention in Triton kernels, for NVIDIA GPUs.

From the outside in: ``operator.py`` makes the kernels operators of PyTorch,
with gradients; ``launch.py`` allocates and launches; ``forward.py`` and
``backward.py`` have the kernels.
"""

from .operator import attention, supports

__all__ = ['attention', 'supports']
