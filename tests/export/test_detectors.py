# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Graphs of detectors against what mmdet predicts."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip('mmdet')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')

from detector_cases import (
    Padded,
    compare,
    detector_config,
    mmdet_detections,
    narrow,
    random_detector,
    random_images,
)
from export_cases import onnx_session

from ivit.export.detection import detection_graph

slow = pytest.mark.slow
exhaustive = (slow, pytest.mark.exhaustive)
DIM = torch.export.Dim.DYNAMIC
TRACED = (2, 3, 96, 128)
ODD_SIZES = [(111, 45), (33, 75), (70, 161), (130, 65), (201, 190)]


def config_of(kind: str) -> Any:
    """Each kind of detector, small."""
    if kind == 'cascade':
        return narrow(detector_config('cascade_mask_rcnn_ivit_s_3x_coco'))
    if kind == 'retinanet':
        return detector_config('retinanet_ivit_n_shapes')
    if kind == 'retinanet_coco':
        return narrow(detector_config('retinanet_ivit_t_coco'))
    if kind == 'mask_rcnn_coco':
        return narrow(detector_config('mask_rcnn_ivit_t_coco'))
    config = detector_config('mask_rcnn_ivit_n_shapes')
    if kind == 'faster_rcnn':
        config.type = 'FasterRCNN'
        del config.roi_head['mask_head'], config.roi_head['mask_roi_extractor']
    return config


KINDS = [
    'retinanet',
    'retinanet_coco',
    'faster_rcnn',
    'mask_rcnn',
    'mask_rcnn_coco',
    'cascade',
]

WIDE = ('retinanet_coco', 'mask_rcnn_coco', 'cascade')  # 80 classes


@pytest.mark.parametrize(
    'kind',
    [pytest.param(kind, marks=slow if kind in WIDE else ()) for kind in KINDS],
)
def test_graphs_find_what_mmdet_finds(kind: str) -> None:
    """In float64, where no two scores are equal, they are the same."""
    model = random_detector(config_of(kind)).double()
    graph = Padded(detection_graph(model)).double()
    for size in ODD_SIZES:
        images = random_images(3, *size).double()
        with torch.no_grad():
            got = [each.numpy() for each in graph(images)]
        alone, total = compare(got, mmdet_detections(model, images))
        assert alone == 0
        assert total > 100


@pytest.mark.parametrize(
    'kind',
    [
        pytest.param(
            kind,
            marks=slow if kind in ('mask_rcnn', 'retinanet') else exhaustive,
        )
        for kind in KINDS
    ],
)
def test_files_find_what_mmdet_finds(kind: str) -> None:
    model = random_detector(config_of(kind))
    check_file(model, ODD_SIZES)


def check_file(
    model: nn.Module, sizes: list[tuple[int, int]], least: int = 100
) -> None:
    """A file against mmdet at sizes that it was not traced with.

    The two round convolutions differently, by a millionth. An overlap that is
    that near to a threshold is decided otherwise, which happens in one image
    of dozens; a detection that hangs on it has no partner.
    """
    session = onnx_session(
        Padded(detection_graph(model)),
        (random_images(TRACED[0], *TRACED[2:]),),
        ({0: DIM, 2: DIM, 3: DIM},),
    )
    alone = total = 0
    for batch, size in enumerate(sizes, 1):
        images = random_images(batch, *size)
        got = session.run(None, {'images': images.numpy()})
        dtypes = [each.dtype for each in got[:3]]
        assert dtypes == [np.float32, np.float32, np.int64]
        result = compare(got, mmdet_detections(model, images))
        alone, total = alone + result[0], total + result[1]
    assert total > least * len(sizes)
    assert alone <= total / 100


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=exhaustive)
        for name in ('mask_rcnn_ivit_n_shapes', 'retinanet_ivit_n_shapes')
    ],
)
def test_files_of_small_configs(name: str) -> None:
    """With the backbones of the configs."""
    model = random_detector(detector_config(name), own_backbone=True)
    check_file(model, ODD_SIZES, least=30)


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=exhaustive)
        for name in (
            'retinanet_ivit_t_coco',
            'mask_rcnn_ivit_t_coco',
            'cascade_mask_rcnn_ivit_s_3x_coco',
        )
    ],
)
def test_files_of_full_configs(name: str) -> None:
    model = random_detector(detector_config(name), own_backbone=True)
    check_file(model, [(200, 333), (301, 256)], least=30)


@pytest.mark.parametrize('kind', ['mask_rcnn', 'retinanet'])
def test_no_image_is_too_small(kind: str) -> None:
    """The coarsest level has one place and fewer anchors than are kept."""
    graph = detection_graph(random_detector(config_of(kind)))
    images = random_images(2, 32, 32)
    with torch.no_grad():
        boxes, _, labels, *masks = graph(images, (32, 20))
    assert boxes.shape == (2, graph.max_out, 4)
    assert (labels >= 0).any(1).all()
    assert boxes.min() >= 0
    assert 15 < boxes[..., 0::2].max() <= 20
    assert 25 < boxes[..., 1::2].max() <= 32
    for mask in masks:
        assert mask.shape == (2, graph.max_out, 14, 14)


def test_nothing_is_found() -> None:
    config = config_of('mask_rcnn')
    config.test_cfg.rcnn.score_thr = 0.9999999
    graph = detection_graph(random_detector(config))
    with torch.no_grad():
        boxes, scores, labels, masks = graph(
            random_images(2, 64, 64), (64, 64)
        )
    assert labels.eq(-1).all()
    for each in (boxes, scores, masks):
        assert not each.any()


def rename(part: Any) -> None:
    """Make a part an object of a subclass, which may compute otherwise."""
    part.__class__ = type('OddPart', (type(part),), {})


REFUSED = {
    'bbox_head is a OddPart': ('retinanet', lambda m: rename(m.bbox_head)),
    'rpn_head is a OddPart': ('mask_rcnn', lambda m: rename(m.rpn_head)),
    'roi_head is a OddPart': ('mask_rcnn', lambda m: rename(m.roi_head)),
    'box_head is a OddPart': (
        'mask_rcnn',
        lambda m: rename(m.roi_head.bbox_head),
    ),
    'mask_head is a OddPart': (
        'mask_rcnn',
        lambda m: rename(m.roi_head.mask_head),
    ),
    'roi_extractor is a OddPart': (
        'mask_rcnn',
        lambda m: rename(m.roi_head.mask_roi_extractor),
    ),
    'bbox_coder is a OddPart': (
        'mask_rcnn',
        lambda m: rename(m.rpn_head.bbox_coder),
    ),
    'anchor_generator is a OddPart': (
        'retinanet',
        lambda m: rename(m.bbox_head.prior_generator),
    ),
    'max_per_img=-1': (
        'retinanet',
        lambda m: m.bbox_head.test_cfg.update(max_per_img=-1),
    ),
    'nms_pre=None': (
        'mask_rcnn',
        lambda m: m.rpn_head.test_cfg.pop('nms_pre'),
    ),
    'soft_nms': (
        'mask_rcnn',
        lambda m: m.roi_head.test_cfg.nms.update(type='soft_nms'),
    ),
    'class_agnostic': (
        'retinanet',
        lambda m: m.bbox_head.test_cfg.nms.update(class_agnostic=True),
    ),
    'pool_mode=max': (
        'mask_rcnn',
        lambda m: vars(m.roi_head.bbox_roi_extractor.roi_layers[0]).update(
            pool_mode='max'
        ),
    ),
}


@pytest.mark.parametrize('message', REFUSED)
def test_other_detectors_are_refused(message: str) -> None:
    kind, change = REFUSED[message]
    model = random_detector(config_of(kind))
    change(model)
    remedy = '(--part backbone|above 0 in the config)'
    with pytest.raises(ValueError, match=f'{re.escape(message)}.*{remedy}'):
        detection_graph(model)


def test_models_of_other_tasks_are_refused() -> None:
    with pytest.raises(ValueError, match=r'a Linear: .*--part backbone'):
        detection_graph(nn.Linear(2, 2))


def test_softmax_scores_and_clamped_centres() -> None:
    """Options that none of the configs has."""
    config = config_of('retinanet')
    config.bbox_head.loss_cls = dict(type='CrossEntropyLoss')
    config.bbox_head.bbox_coder.update(
        add_ctr_clamp=True,
        ctr_clamp=4,
        clip_border=False,
        target_means=[0.1, -0.1, 0.2, 0.0],
    )
    config.test_cfg.update(min_bbox_size=9)
    model = random_detector(config)
    images = random_images(2, 70, 161)
    with torch.no_grad():
        got = [each.numpy() for each in Padded(detection_graph(model))(images)]
    alone, total = compare(got, mmdet_detections(model, images))
    assert alone == 0
    assert total > 100
