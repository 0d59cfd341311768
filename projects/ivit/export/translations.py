# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The operators of :mod:`.operators` written in ONNX (needs onnxscript)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnxscript import FLOAT, INT64, opset18

from . import operators  # noqa: F401  registers torch.ops.ivit

# The opset of the exporter's own translations. Its functions are typed for
# constants, and get the exporter's values here.
op: Any = opset18


def translation_table() -> dict[Callable, Callable]:
    """What ``torch.onnx.export`` needs to write this package's operators.

    Returns:
        The value of its argument ``custom_translation_table``.
    """
    return {
        torch.ops.ivit.nms_padded.default: _nms_padded,
        torch.ops.ivit.roi_align_by_level.default: _roi_align_by_level,
    }


def _nms_padded(
    boxes: FLOAT,
    scores: FLOAT,
    iou_threshold: float,
    score_threshold: float,
    max_out: int,
) -> tuple[FLOAT, INT64]:
    """Suppress, put minus infinity over all other scores, take the best."""
    count = op.Constant(value_ints=[max_out])
    # Groups have boxes of their own: to ONNX they are images of one class.
    images = op.Shape(scores, start=0, end=1)
    size = op.Shape(scores, start=2)
    flat = op.Reshape(
        scores, op.Concat(op.Constant(value_ints=[-1, 1]), size, axis=0)
    )
    kept = op.NonMaxSuppression(
        op.Reshape(
            boxes,
            op.Concat(
                op.Constant(value_ints=[-1]),
                size,
                op.Constant(value_ints=[4]),
                axis=0,
            ),
        ),
        flat,
        count,
        op.Constant(value_floats=[iou_threshold]),
        op.Constant(value_floats=[score_threshold]),
    )
    nothing = op.Constant(value_floats=[float('-inf')])
    survivors = op.Reshape(
        op.ScatterND(
            op.Expand(nothing, op.Shape(flat)), kept, op.GatherND(flat, kept)
        ),
        op.Concat(images, op.Constant(value_ints=[-1]), axis=0),
    )
    # TopK asks for at least as many values as it returns.
    spare = op.Expand(nothing, op.Concat(images, count, axis=0))
    best, index = op.TopK(op.Concat(survivors, spare, axis=1), count)
    found = op.Greater(best, nothing)
    return (
        op.Where(found, best, op.Constant(value_floats=[0.0])),
        op.Where(found, index, op.Constant(value_ints=[-1])),
    )


def _roi_align_by_level(
    maps: Sequence[FLOAT],
    rois: FLOAT,
    levels: INT64,
    strides: Sequence[float],
    output_size: int,
    sampling_ratio: int,
) -> FLOAT:
    """Pool the regions of one level after the other into one tensor."""
    out = op.Expand(
        op.Constant(value_floats=[0.0]),
        op.Concat(
            op.Shape(levels),
            op.Shape(maps[0], start=1, end=2),
            op.Constant(value_ints=[output_size, output_size]),
            axis=0,
        ),
    )
    for level, stride in enumerate(strides):
        on_level = op.Equal(levels, op.Constant(value_ints=[level]))
        where = op.Transpose(op.NonZero(on_level), perm=[1, 0])
        image = op.Gather(where, op.Constant(value_int=0), axis=1)
        pooled = op.RoiAlign(
            maps[level],
            op.GatherND(rois, where),
            image,
            coordinate_transformation_mode='half_pixel',
            mode='avg',
            output_height=output_size,
            output_width=output_size,
            sampling_ratio=sampling_ratio,
            spatial_scale=1 / stride,
        )
        out = op.ScatterND(out, where, pooled)
    return out
