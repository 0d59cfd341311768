# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Objects in validation images: those that are there and those detected."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from .validation import ValidationImages, image_path, spread


@dataclass
class Instances:
    """Objects in an image.

    Attributes:
        boxes: ``(n, 4)``, x1 y1 x2 y2 in pixels.
        labels: n class numbers.
        scores: n numbers in 0..1, or None for the ground truth.
        masks: n masks as COCO's compressed RLE, or None.
        crowds: The numbers of those that stand for many objects; to find one
            or not is neither right nor wrong.
    """

    boxes: np.ndarray
    labels: list[int]
    scores: list[float] | None = None
    masks: list[dict[str, Any]] | None = None
    crowds: set[int] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, indices: Sequence[int]) -> 'Instances':
        """Some of the objects, in the order of ``indices``."""
        scores, masks = self.scores, self.masks
        return Instances(
            self.boxes[list(indices)],
            [self.labels[i] for i in indices],
            None if scores is None else [scores[i] for i in indices],
            None if masks is None else [masks[i] for i in indices],
            {new for new, i in enumerate(indices) if i in self.crowds},
        )

    def above(self, score: float) -> 'Instances':
        """The detections that score as much or more, best first."""
        scores = np.array(self.scores or [])
        order = np.argsort(-scores, kind='stable')
        return self.select([int(i) for i in order if scores[i] >= score])


@dataclass
class Sample:
    """An image with its objects.

    Attributes:
        path: The image file.
        size: Its height and width in pixels.
        truth: What is annotated.
        prediction: All that the model detects.
    """

    path: Path
    size: tuple[int, int]
    truth: Instances
    prediction: Instances


def collect_samples(images: ValidationImages) -> list[Sample]:
    """Run an mmdet detector on the validation images.

    Raises:
        ValueError: If the model detects no objects, or the data set does not
            tell which are there.
    """
    samples, annotations = [], []
    for index, output in zip(images.indices, images.predict(), strict=True):
        path = image_path(output)
        if 'pred_instances' not in output:
            raise ValueError(
                f'the model predicts no instances in {path}; the report of '
                'a detector is about boxes'
            )
        info = images.dataset.get_data_info(index)
        if 'instances' not in info:
            raise ValueError(
                f'{type(images.dataset).__name__} does not tell the objects '
                f'in {path}; a report needs the annotations of the '
                'validation images'
            )
        size = tuple(output.metainfo['ori_shape'][:2])
        prediction = read_prediction(output.pred_instances)
        annotations.append(info['instances'])
        truth = read_truth(info['instances'])
        samples.append(Sample(path, size, truth, prediction))
    # Masks that only one side has cannot be compared.
    annotated = any(one.get('mask') for some in annotations for one in some)
    predicted = all(sample.prediction.masks is not None for sample in samples)
    for sample, some in zip(samples, annotations, strict=True):
        if annotated and predicted:
            sample.truth.masks = encode_masks(some, sample.size)
        else:
            sample.prediction.masks = None
    return samples


def read_truth(instances: Sequence[dict[str, Any]]) -> Instances:
    """Boxes as mmdet's data sets describe them.

    Args:
        instances: Dicts with ``bbox``, ``bbox_label`` and, perhaps,
            ``ignore_flag``.
    """
    return Instances(
        np.array([one['bbox'] for one in instances], float).reshape(-1, 4),
        [int(one['bbox_label']) for one in instances],
        crowds={i for i, x in enumerate(instances) if x.get('ignore_flag')},
    )


def encode_masks(
    instances: Sequence[dict[str, Any]], size: tuple[int, int]
) -> list[dict[str, Any]]:
    """Masks, polygons or RLE of any kind, as compressed RLE.

    Args:
        instances: Dicts with ``bbox`` and ``mask``. One without a mask, among
            others with one, has its box as mask.
        size: Height and width of the image in pixels.
    """
    masks = []
    for one in instances:
        mask = one.get('mask') or _as_polygon(one['bbox'])
        if isinstance(mask, list):
            mask = coco_mask.merge(coco_mask.frPyObjects(mask, *size))
        elif isinstance(mask['counts'], list):
            mask = coco_mask.frPyObjects(mask, *size)
        masks.append(mask)
    return masks


def read_prediction(found: Any) -> Instances:
    """Detections as mmdet's models return them."""
    from mmdet.structures.mask import encode_mask_results

    masks = found.get('masks')
    if masks is not None and not isinstance(masks, list):
        masks = encode_mask_results(masks.detach().cpu().numpy())
    return Instances(
        found.bboxes.detach().cpu().numpy().astype(float).reshape(-1, 4),
        found.labels.tolist(),
        found.scores.tolist(),
        masks,
    )


def choose_evenly(samples: Sequence[Sample], number: int) -> list[Sample]:
    """Samples at even intervals, fewer if there are not as many."""
    return [samples[i] for i in spread(len(samples), number)]


def _as_polygon(box: Sequence[float]) -> list[list[float]]:
    x1, y1, x2, y2 = box
    return [[x1, y1, x2, y1, x2, y2, x1, y2]]
