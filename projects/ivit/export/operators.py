# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Two operators whose work depends on data and whose sizes do not.

How many boxes survive non-maximum suppression, and how many regions belong to
a level of a pyramid, is known only when a graph runs. A graph of fixed sizes
holds each of the two as one operator: ``ivit::nms_padded`` and
``ivit::roi_align_by_level``. PyTorch runs them on torchvision;
:mod:`.translations` writes them in ONNX.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import nms, roi_align


@torch.library.custom_op('ivit::nms_padded', mutates_args=())
def nms_padded(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    score_threshold: float,
    max_out: int,
) -> tuple[Tensor, Tensor]:
    """The best boxes of every image after suppression by groups.

    A box is dropped if its IoU with a kept box of its own group is above the
    threshold.

    Args:
        boxes: ``(B, G, N, 4)``, x1, y1, x2, y2 in pixels; G groups (classes
            or levels) of N boxes.
        scores: ``(B, G, N)``; minus infinity where there is no box.
        iou_threshold: In [0, 1].
        score_threshold: Boxes of this score or less are dropped first.
        max_out: Boxes to return of an image, K.

    Returns:
        Scores ``(B, K)`` by falling value, 0 behind the last one, and places
        ``(B, K)`` in the G N boxes of the image, int64, -1 behind the last
        one.
    """
    threshold = torch.tensor(iou_threshold, dtype=boxes.dtype).item()
    out_scores = scores.new_zeros((len(scores), max_out))
    out_index = scores.new_full((len(scores), max_out), -1, dtype=torch.int64)
    for image, (groups, of_groups) in enumerate(
        zip(boxes, scores, strict=True)
    ):
        kept = []
        for group, (group_boxes, group_scores) in enumerate(
            zip(groups, of_groups, strict=True)
        ):
            places = (group_scores > score_threshold).nonzero()[:, 0]
            best = nms(group_boxes[places], group_scores[places], threshold)
            kept.append(places[best[:max_out]] + group * groups.shape[1])
        index = torch.cat(kept)
        values, order = of_groups.flatten()[index].sort(
            descending=True, stable=True
        )
        count = min(max_out, len(index))
        out_scores[image, :count] = values[:count]
        out_index[image, :count] = index[order[:count]]
    return out_scores, out_index


@nms_padded.register_fake
def _(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    score_threshold: float,
    max_out: int,
) -> tuple[Tensor, Tensor]:
    size = (scores.shape[0], max_out)
    return scores.new_empty(size), scores.new_empty(size, dtype=torch.int64)


@torch.library.custom_op('ivit::roi_align_by_level', mutates_args=())
def roi_align_by_level(
    maps: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor,
    strides: Sequence[float],
    output_size: int,
    sampling_ratio: int,
) -> Tensor:
    """RoIAlign (He et al., 2017) of every region on its own level.

    Args:
        maps: The L levels of a pyramid, ``(B, C, H_l, W_l)``.
        rois: Regions ``(B, K, 4)``, x1, y1, x2, y2 in image pixels.
        levels: Level of each region, ``(B, K)``, int64 in 0..L-1.
        strides: Image pixels per map pixel of each level.
        output_size: Bins per row and column, S.
        sampling_ratio: Samples per bin and axis; 0 adapts to the region.

    Returns:
        ``(B, K, C, S, S)``.
    """
    out = maps[0].new_empty(
        (*rois.shape[:2], maps[0].shape[1], output_size, output_size)
    )
    for level, (level_map, stride) in enumerate(
        zip(maps, strides, strict=True)
    ):
        image, place = (levels == level).nonzero(as_tuple=True)
        regions = torch.cat(
            [image[:, None].to(rois), rois[image, place]], dim=1
        )
        out[image, place] = roi_align(
            level_map,
            regions,
            output_size,
            1 / stride,
            sampling_ratio,
            aligned=True,
        )
    return out


@roi_align_by_level.register_fake
def _(
    maps: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor,
    strides: Sequence[float],
    output_size: int,
    sampling_ratio: int,
) -> Tensor:
    return maps[0].new_empty(
        (
            rois.shape[0],
            rois.shape[1],
            maps[0].shape[1],
            output_size,
            output_size,
        )
    )
