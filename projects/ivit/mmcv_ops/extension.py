# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The contents of the module that stands in for ``mmcv._ext``."""

from types import ModuleType

import torchvision

from . import focal_loss, nms, roi_align
from .missing import missing_op


def get_compiler_version() -> str:
    """What mmcv reports as the compiler of its operators."""
    return f'none (ivit stand-in on torchvision {torchvision.__version__})'


def get_compiling_cuda_version() -> str:
    """What mmcv reports as the CUDA version of its operators."""
    return 'none (ivit stand-in)'


def add_operators(module: ModuleType) -> None:
    """Add the operators to ``module`` by the names that mmcv has for them."""
    ops = (
        nms.nms,
        nms.softnms,
        nms.nms_match,
        roi_align.roi_align_forward,
        roi_align.roi_align_backward,
        focal_loss.sigmoid_focal_loss_forward,
        focal_loss.sigmoid_focal_loss_backward,
        focal_loss.softmax_focal_loss_forward,
        focal_loss.softmax_focal_loss_backward,
        get_compiler_version,
        get_compiling_cuda_version,
    )
    for op in ops:
        setattr(module, op.__name__, op)
    vars(module)['__getattr__'] = missing_op
