# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Detectors of random weights, and what mmdet predicts with them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.nn import functional as F

from ivit.engine import find_config

# How far apart the weights of a layer are, times the root of its inputs:
# scores that differ, and boxes that differ from their anchors.
SPREAD = {
    'rpn_cls': 1.0,
    'rpn_reg': 0.5,
    'fc_cls': 3.0,
    'fc_reg': 1.0,
    'retina_cls': 0.3,
    'retina_reg': 0.3,
    'conv_logits': 3.0,
}
NARROW = {256: 16, 1024: 32}
WIDTHS = {
    'in_channels',
    'out_channels',
    'feat_channels',
    'conv_out_channels',
    'fc_out_channels',
}


class Detections(NamedTuple):
    """Of one image; masks are probabilities over the box, or None."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None


class PlainBackbone(nn.Module):
    """Strided convolutions in place of a backbone.

    It sees where a pixel is, so that no two anchors in the padding have the
    same score: mmdet and the graph need not order equal scores alike.
    """

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Conv2d(inner, outer, stride, stride)
            for inner, outer, stride in zip(
                [3, *widths], widths, [4, 2, 2, 2], strict=False
            )
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        rows, columns = (torch.arange(side) for side in images.shape[2:])
        images = images + torch.sin(rows[:, None] * 0.11 + columns * 0.07)
        maps = []
        for stage in self.stages:
            images = stage(images).relu()
            maps.append(images)
        return tuple(maps)


class Padded(nn.Module):
    """A graph that pads its images by itself, as files do."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        height, width = images.shape[2:]
        padded = F.pad(images, (0, -width % 32, 0, -height % 32))
        return self.detector(padded, (height, width))


def detector_config(name: str) -> ConfigDict:
    """The model of a config with many detections to suppress.

    Proposals are not thinner than 4 pixels: slivers at a border can have the
    same features, and mmdet orders equal scores as it happens.
    """
    config = Config.fromfile(find_config(name)).model
    test_cfg = config.test_cfg
    (test_cfg.rcnn if 'rcnn' in test_cfg else test_cfg).max_per_img = 100
    if 'rpn' in test_cfg:
        test_cfg.rpn.min_bbox_size = 4
    return config


def narrow(config: Any) -> Any:
    """The same model with a fraction of the channels, and fewer boxes."""
    if isinstance(config, dict):
        for key, value in config.items():
            if key in WIDTHS and isinstance(value, int):
                config[key] = NARROW.get(value, value)
            elif key in ('nms_pre', 'max_per_img'):
                config[key] = min(value, 60)
            else:
                narrow(value)
    elif isinstance(config, list):
        for each in config:
            narrow(each)
    return config


def random_detector(
    config: ConfigDict, own_backbone: bool = False
) -> nn.Module:
    """A detector whose scores and boxes differ from place to place.

    Args:
        config: Of the model.
        own_backbone: Whether to keep the backbone of the config.
    """
    torch.manual_seed(0)
    if not own_backbone:
        config.backbone = dict(type='IViT', arch='n')  # quick to replace
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(config).eval()
    if not own_backbone:
        model.backbone = PlainBackbone(config.neck.in_channels)
    for name, weight in model.named_parameters():
        layer, kind = name.split('.')[-2:]
        if layer in SPREAD and kind == 'weight':
            nn.init.normal_(weight, std=SPREAD[layer] * fan_in(weight) ** -0.5)
        elif layer in SPREAD:
            nn.init.normal_(weight, std=0.3)
    return model


def fan_in(weight: Tensor) -> int:
    return weight[0].numel()


def random_images(batch: int, height: int, width: int) -> Tensor:
    """Noise of several scales: every level of a pyramid sees something."""
    generator = torch.Generator().manual_seed(height * 1000 + width)
    images = torch.zeros(batch, 3, height, width)
    for step in (1, 4, 16, 48):
        size = -(-height // step), -(-width // step)
        noise = torch.randn(batch, 3, *size, generator=generator)
        images += F.interpolate(noise, scale_factor=step)[..., :height, :width]
    return images


@contextmanager
def recorded_masks(model: nn.Module) -> Iterator[list[Tensor]]:
    """Logits of each mask head as mmdet computes them, and no more.

    mmdet would then paste them into the image, which needs float32.
    """
    logits: list[Tensor] = []
    heads = [
        each
        for each in model.modules()
        if type(each).__name__ == 'FCNMaskHead'
    ]
    hooks = []
    for head in heads:
        hooks.append(
            head.register_forward_hook(lambda _, __, out: logits.append(out))
        )
        head.predict_by_feat = lambda *_, results_list, **__: results_list
    yield logits
    for head, hook in zip(heads, hooks, strict=True):
        hook.remove()
        del head.predict_by_feat


def mmdet_detections(model: nn.Module, images: Tensor) -> list[Detections]:
    """What ``model.predict`` finds in images that it need not resize."""
    size = tuple(images.shape[2:])
    images = F.pad(images, (0, -size[1] % 32, 0, -size[0] % 32))
    padded = tuple(images.shape[2:])
    samples = [
        DetDataSample(
            metainfo=dict(
                img_shape=size,
                ori_shape=size,
                scale_factor=(1.0, 1.0),
                batch_input_shape=padded,
                pad_shape=padded,
            )
        )
        for _ in images
    ]
    with torch.no_grad(), recorded_masks(model) as logits:
        samples = model.predict(images, samples, rescale=True)
    found = [sample.pred_instances for sample in samples]
    counts = [len(each) for each in found]
    masks: list[Any] = [None] * len(found)
    if logits:
        every = torch.stack(logits).sigmoid().mean(0).split(counts)
        masks = [
            each[torch.arange(len(each)), of_image.labels].numpy()
            for each, of_image in zip(every, found, strict=True)
        ]
    return [
        Detections(
            each.bboxes.numpy(),
            each.scores.numpy(),
            each.labels.numpy(),
            mask,
        )
        for each, mask in zip(found, masks, strict=True)
    ]


def compare(got: list[np.ndarray], want: list[Detections]) -> tuple[int, int]:
    """Pair the detections of a graph with mmdet's.

    A pair has one label, boxes within 0.1 pixel, scores within 1e-3, and
    masks within 1e-3; equal scores may have changed places.

    Args:
        got: Boxes, scores, labels and perhaps masks of the graph.
        want: What mmdet finds.

    Returns:
        How many detections of mmdet or the graph have no partner, whichever
        is more, and how many there are.
    """
    boxes, scores, labels, *masks = got
    assert len(boxes) == len(want)
    alone = 0
    for image, of_image in enumerate(want):
        count = int((labels[image] >= 0).sum())
        assert (np.diff(scores[image]) <= 0).all()
        for each in (boxes, scores, labels + 1, *masks):
            assert not each[image, count:].any()
        free = np.ones(count, bool)
        for place in range(len(of_image.scores)):
            apart = np.abs(boxes[image, :count] - of_image.boxes[place])
            other = np.abs(scores[image, :count] - of_image.scores[place])
            same = free & (apart.max(1, initial=0) < 0.1) & (other < 1e-3)
            same &= labels[image, :count] == of_image.labels[place]
            if not same.any():
                continue
            match = np.flatnonzero(same)[apart[same].sum(1).argmin()]
            free[match] = False
            if masks:
                np.testing.assert_allclose(
                    masks[0][image, match], of_image.masks[place], atol=1e-3
                )
        alone += max(count, len(of_image.scores)) - (count - free.sum())
    return alone, sum(len(each.scores) for each in want)
