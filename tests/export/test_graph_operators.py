# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The two operators against brute force, in PyTorch and in onnxruntime."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import box_iou, roi_align

pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')

from export_cases import onnx_session

from ivit.export import operators

LIMIT = 0.5
STRIDES = [4.0, 8.0, 16.0]


class Suppression(nn.Module):
    def __init__(self, score_threshold: float, max_out: int) -> None:
        super().__init__()
        self.arguments = LIMIT, score_threshold, max_out

    def forward(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        return operators.nms_padded(boxes, scores, *self.arguments)


class Pooling(nn.Module):
    def __init__(self, sampling_ratio: int) -> None:
        super().__init__()
        self.arguments = STRIDES, 5, sampling_ratio

    def forward(
        self,
        fine: Tensor,
        middle: Tensor,
        coarse: Tensor,
        rois: Tensor,
        levels: Tensor,
    ) -> Tensor:
        return operators.roi_align_by_level(
            [fine, middle, coarse], rois, levels, *self.arguments
        )


def suppress(
    boxes: Tensor, scores: Tensor, score_threshold: float, max_out: int
) -> list[tuple[float, int]]:
    """Scores and places of the boxes of one image, one after the other."""
    kept = []
    for group in range(len(boxes)):
        overlap = box_iou(boxes[group], boxes[group])
        mine: list[int] = []
        for place in scores[group].argsort(descending=True).tolist():
            if scores[group, place] > score_threshold and not any(
                overlap[place, other] > LIMIT for other in mine
            ):
                mine.append(place)
        kept += [
            (scores[group, place].item(), group * boxes.shape[1] + place)
            for place in mine
        ]
    return sorted(kept, reverse=True)[:max_out]


def random_boxes(*size: int) -> Tensor:
    corner = torch.rand(*size, 2) * 40
    return torch.cat([corner, corner + torch.rand(*size, 2) * 30 + 1], -1)


@pytest.fixture(params=['torch', 'onnx'])
def run(request: pytest.FixtureRequest) -> Callable:
    """Runs a module on inputs: as it is, or as a graph of free sizes."""
    if request.param == 'torch':
        return lambda module, inputs, *_: module(*inputs)

    def run_graph(
        module: nn.Module,
        inputs: tuple[Tensor, ...],
        traced: tuple[Tensor, ...],
        free: tuple[dict, ...],
    ) -> list[Tensor]:
        session = onnx_session(module, traced, free)
        names = [node.name for node in session.get_inputs()]
        values = [value.numpy() for value in inputs]
        out = session.run(None, dict(zip(names, values, strict=True)))
        out = [torch.from_numpy(value) for value in out]
        return out if len(out) > 1 else out[0]

    return run_graph


@pytest.mark.parametrize(
    ('score_threshold', 'max_out', 'num'),
    [(-1.0, 10, 60), (0.3, 10, 60), (0.9, 200, 33), (-1.0, 40, 1)],
)
def test_suppression(
    run: Callable, score_threshold: float, max_out: int, num: int
) -> None:
    torch.manual_seed(0)
    free = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC}
    boxes, scores = random_boxes(3, 4, num), torch.rand(3, 4, num)
    scores[1, 2] = -torch.inf  # a group of nothing
    traced = random_boxes(2, 4, 7), torch.rand(2, 4, 7)
    values, index = run(
        Suppression(score_threshold, max_out),
        (boxes, scores),
        traced,
        (free, free),
    )
    assert values.shape == index.shape == (3, max_out)
    assert index.dtype == torch.int64
    for image in range(3):
        want = suppress(boxes[image], scores[image], score_threshold, max_out)
        count = len(want)
        if num > 1:
            assert count > 4
        assert values[image, :count].tolist() == [score for score, _ in want]
        assert index[image, :count].tolist() == [place for _, place in want]
        assert values[image, count:].eq(0).all()
        assert index[image, count:].eq(-1).all()


def test_suppression_of_nothing(run: Callable) -> None:
    """No box above the threshold, and boxes without an area."""
    free = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC}
    boxes, scores = torch.zeros(2, 3, 9, 4), torch.full((2, 3, 9), 0.5)
    scores[0] = 0.1
    values, index = run(
        Suppression(0.1, 5), (boxes, scores), (boxes, scores), (free, free)
    )
    assert index[0].tolist() == [-1] * 5
    # Empty boxes overlap nothing, so that all are kept.
    assert len(index[1].unique()) == 5
    assert values[1].tolist() == [0.5] * 5


@pytest.mark.parametrize('sampling_ratio', [0, 1, 2])
def test_regions_are_pooled_on_their_level(
    run: Callable, sampling_ratio: int
) -> None:
    torch.manual_seed(1)
    dim = torch.export.Dim.DYNAMIC
    maps = [torch.randn(2, 6, 40 // int(s), 71 // int(s)) for s in STRIDES]
    rois, levels = random_boxes(2, 17), torch.randint(3, (2, 17))
    levels[levels == 1] = 0  # nothing on the middle level
    rois[0, 0] = 0  # as padding does
    rois[1, 1] = torch.tensor([5.0, 30.0, 5.0, 90.0])  # no width, and outside
    traced = [torch.randn(3, 6, 64 // int(s), 32 // int(s)) for s in STRIDES]
    of_map, of_rois = {0: dim, 2: dim, 3: dim}, {0: dim, 1: dim}
    got = run(
        Pooling(sampling_ratio),
        (*maps, rois, levels),
        (*traced, random_boxes(3, 9), torch.randint(3, (3, 9))),
        (of_map, of_map, of_map, of_rois, of_rois),
    )
    assert got.shape == (2, 17, 6, 5, 5)
    for image in range(2):
        for place in range(17):
            level = levels[image, place]
            region = torch.cat([torch.zeros(1), rois[image, place]])
            want = roi_align(
                maps[level][image, None],
                region[None],
                5,
                1 / STRIDES[level],
                sampling_ratio,
                aligned=True,
            )[0]
            np.testing.assert_allclose(
                got[image, place].numpy(), want.numpy(), atol=1e-5
            )


def test_operators_keep_the_rules_of_torch() -> None:
    """Fake results have the shapes, strides and dtypes of real ones."""
    torch.manual_seed(2)
    checks = ('test_schema', 'test_faketensor')
    torch.library.opcheck(
        operators.nms_padded,
        (random_boxes(2, 3, 8), torch.rand(2, 3, 8), LIMIT, 0.1, 5),
        test_utils=checks,
    )
    maps = [torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4, 4)]
    torch.library.opcheck(
        operators.roi_align_by_level,
        (
            maps,
            random_boxes(2, 5),
            torch.randint(2, (2, 5)),
            [4.0, 8.0],
            3,
            0,
        ),
        test_utils=checks,
    )
