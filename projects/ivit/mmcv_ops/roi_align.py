# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""RoIAlign (He et al., 2017), in mmcv's calling convention."""

import torch
from torch import Tensor
from torchvision.ops import roi_align as torchvision_roi_align

from .missing import MissingOpError


def roi_align_forward(
    input: Tensor,  # noqa: A002
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Average bilinear samples in every bin of every region.

    Args:
        input: ``(B, C, H, W)``; half precision is computed in float32.
        rois: Regions ``(K, 5)``: index of the image and x1, y1, x2, y2 in
            pixels of the image.
        output: ``(K, C, aligned_height, aligned_width)``, written.
        argmax_y: For the maximum; not used.
        argmax_x: For the maximum; not used.
        aligned_height: Bins per column.
        aligned_width: Bins per row.
        spatial_scale: Map pixels per image pixel.
        sampling_ratio: Samples per bin and axis; 0 adapts to the region.
        pool_mode: 1 for the average; 0, the maximum, is not available.
        aligned: Whether to shift the regions by half a pixel, which takes
            whole coordinates for the corners of pixels.

    Raises:
        MissingOpError: If ``pool_mode`` is 0.
    """
    _check_mode(pool_mode)
    dtype = _compute_dtype(input)
    size = (aligned_height, aligned_width)
    output.copy_(
        torchvision_roi_align(
            input.to(dtype),
            rois.to(dtype),
            size,
            spatial_scale,
            sampling_ratio,
            aligned,
        )
    )


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient of the map to ``grad_input`` (B, C, H, W).

    ``grad_output`` is ``(K, C, aligned_height, aligned_width)``. The other
    arguments are those of :func:`roi_align_forward`.

    Raises:
        MissingOpError: If ``pool_mode`` is 0.
    """
    _check_mode(pool_mode)
    dtype = _compute_dtype(grad_output)
    grad_input.copy_(
        torch.ops.torchvision._roi_align_backward(
            grad_output.to(dtype),
            rois.to(dtype),
            spatial_scale,
            aligned_height,
            aligned_width,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
    )


def _compute_dtype(x: Tensor) -> torch.dtype:
    """At least float32: torchvision has no half precision on the CPU."""
    return torch.promote_types(x.dtype, torch.float32)


def _check_mode(pool_mode: int) -> None:
    if pool_mode != 1:
        raise MissingOpError("roi_align with pool_mode='max'")
