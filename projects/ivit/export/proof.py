# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Compare an exported file with the model it was made of."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from torch import Tensor

from .differences import Differences
from .inputs import loads_blue_first, read_normalisation
from .model import OnnxModel
from .pictures import resize_pictures

#: Batch, height and width; none is the one that a graph is made with.
SIZES = (
    (1, 64, 64),
    (1, 101, 77),
    (1, 33, 320),
    (3, 160, 224),
    (1, 333, 400),
    (1, 480, 640),
)


def prove(
    model: BaseModel,
    exported: OnnxModel,
    cfg: Config,
    pictures: list[Tensor],
    sizes: Sequence[tuple[int, int, int]] = SIZES,
) -> Differences:
    """Run both on pictures of several sizes.

    Args:
        model: The model, as a config builds it.
        exported: Its file.
        cfg: The config.
        pictures: What the test pipeline gives, ``(3, H, W)`` of uint8.
        sizes: Batch, height and width of each comparison.

    Returns:
        How far they are apart.
    """
    compare = _COMPARE[exported.session.info['task']]
    differences = Differences()
    scope = DefaultScope.overwrite_default_scope(cfg.default_scope)
    with scope, torch.no_grad():
        for number, (batch, height, width) in enumerate(sizes):
            size = (height, width)
            chosen = resize_pictures(pictures, number, batch, size)
            compare(model, exported, cfg, chosen, differences)
    return differences


def _compare_predictions(
    model: BaseModel,
    exported: OnnxModel,
    cfg: Config,
    pictures: list[Tensor],
    differences: Differences,
) -> None:
    """Compare what both make of the same batch of the test pipeline."""
    samples = [_sample(cfg, picture) for picture in pictures]
    given = dict(inputs=pictures, data_samples=samples)
    expected = model.test_step(deepcopy(given))
    found = exported.test_step(deepcopy(given))
    for one, other in zip(expected, found, strict=True):
        if cfg.default_scope == 'mmdet':
            rules = _nms_rules(cfg)
            instances = one.pred_instances
            differences.add_objects(
                instances.cpu(), other.pred_instances, **rules
            )
        elif cfg.default_scope == 'mmseg':
            logits = one.seg_logits.data.cpu()
            threshold = exported.session.info['threshold']
            labels = other.pred_sem_seg.data[0]
            differences.add_labels(logits, labels, threshold)
            if 'seg_logits' in other:
                differences.add_logits(logits, other.seg_logits.data)
        else:
            differences.add_scores(one.pred_score.cpu(), other.pred_score)


def _compare_maps(
    model: BaseModel,
    exported: OnnxModel,
    cfg: Config,
    pictures: list[Tensor],
    differences: Differences,
) -> None:
    """Compare the maps of backbone and neck."""
    batch = torch.stack(pictures)
    if loads_blue_first(cfg):
        batch = batch.flip(1)
    found = exported.session.run(np.ascontiguousarray(batch.numpy()))
    device = next(model.parameters()).device
    normalise = read_normalisation(cfg).to(device)
    expected = model.extract_feat(normalise(batch.to(device)))
    for one, other in zip(expected, found.values(), strict=True):
        differences.add_maps(one.cpu(), torch.from_numpy(other))


_COMPARE = dict(
    detection=_compare_predictions,
    segmentation=_compare_predictions,
    classification=_compare_predictions,
    features=_compare_maps,
)


def _sample(cfg: Config, picture: Tensor) -> Any:
    """An empty data sample of a picture that was not resized."""
    size = tuple(picture.shape[1:])
    metainfo = dict(
        img_id=0, img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0)
    )
    sample: Any
    if cfg.default_scope == 'mmdet':
        from mmdet.structures import DetDataSample as Sample
    elif cfg.default_scope == 'mmseg':
        from mmseg.structures import SegDataSample as Sample
    else:
        from mmpretrain.structures import DataSample as Sample
    sample = Sample(metainfo=metainfo)
    return sample


def _nms_rules(cfg: Config) -> dict[str, Any]:
    """The thresholds of a detector's last step."""
    rules = cfg.model.test_cfg.get('rcnn') or cfg.model.test_cfg
    return dict(
        threshold=rules.score_thr,
        iou_threshold=rules.nms.iou_threshold,
        max_out=rules.max_per_img,
    )
