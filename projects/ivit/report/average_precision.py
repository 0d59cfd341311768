# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""COCO's average precision of each class."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from mmdet.datasets.api_wrappers import COCO, COCOeval

from .instances import Instances, Sample

# As mmdet's CocoMetric has it: all detections of a detector count.
MOST_DETECTIONS = [100, 300, 1000]


class ClassPrecision(NamedTuple):
    """Average precisions, NaN for classes without any object.

    Attributes:
        mean: ``(classes,)``, the mean over IoU thresholds 0.50 to 0.95.
        at_50: ``(classes,)``, at an IoU of 0.5.
    """

    mean: np.ndarray
    at_50: np.ndarray


def evaluate_classes(
    samples: Sequence[Sample], classes: int, kind: Literal['bbox', 'segm']
) -> ClassPrecision:
    """Evaluate detections class by class with pycocotools.

    Args:
        samples: All images.
        classes: Number of classes.
        kind: Whether boxes or masks are compared.
    """
    truth = [sample.truth for sample in samples]
    found = [sample.prediction for sample in samples]
    # pycocotools prints its progress.
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(
            _index(samples, truth, classes),
            _index(samples, found, classes),
            kind,
        )
        evaluation.params.maxDets = MOST_DETECTIONS
        evaluation.params.areaRng = evaluation.params.areaRng[:1]
        evaluation.params.areaRngLbl = ['all']
        evaluation.evaluate()
        evaluation.accumulate()
    # IoU thresholds, recalls, classes, areas, numbers of detections.
    precision = evaluation.eval['precision'][..., 0, -1]
    precision = np.where(precision < 0, np.nan, precision)  # no objects
    means = precision.mean(axis=1)
    return ClassPrecision(means.mean(axis=0), means[0])


def _index(
    samples: Sequence[Sample], objects: Sequence[Instances], classes: int
) -> COCO:
    """The objects of all images as pycocotools wants them."""
    annotations: list[dict[str, Any]] = []
    images = []
    for number, (sample, instances) in enumerate(
        zip(samples, objects, strict=True), 1
    ):
        height, width = sample.size
        images.append(dict(id=number, height=height, width=width))
        for i, (x1, y1, x2, y2) in enumerate(instances.boxes.tolist()):
            annotation = dict(
                id=len(annotations) + 1,  # COCOeval misreads id 0
                image_id=number,
                category_id=instances.labels[i] + 1,
                bbox=[x1, y1, x2 - x1, y2 - y1],
                area=(x2 - x1) * (y2 - y1),
                iscrowd=int(i in instances.crowds),
            )
            if instances.scores is not None:
                annotation['score'] = instances.scores[i]
            if instances.masks is not None:
                annotation['segmentation'] = instances.masks[i]
            annotations.append(annotation)
    coco = COCO()
    coco.dataset = dict(
        images=images,
        annotations=annotations,
        categories=[dict(id=i + 1, name=str(i)) for i in range(classes)],
    )
    coco.createIndex()
    return coco
