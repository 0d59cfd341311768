# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Validation images with what is there and what the model sees."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import get_box_tensor
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.model import BaseModel

#: Detections with a lower score are not drawn.
SCORE_SHOWN = 0.5


@dataclass
class Instances:
    """Objects in an image.

    Attributes:
        boxes: ``(n, 4)``, x1 y1 x2 y2 in pixels.
        masks: ``(n, H, W)`` bool.
        labels: n class numbers.
        scores: n numbers in 0..1, or None for the ground truth.
    """

    boxes: np.ndarray
    masks: np.ndarray
    labels: list[int]
    scores: list[float] | None = None


@dataclass
class Sample:
    """An image with its objects.

    Attributes:
        path: The image file.
        truth: What is annotated.
        prediction: What the model detects with ``SCORE_SHOWN`` or more.
    """

    path: Path
    truth: Instances
    prediction: Instances


def collect_samples(
    model: BaseModel, dataset: BaseDataset, number: int = 12
) -> list[Sample]:
    """Run the model on evenly spaced images of a data set.

    Args:
        model: An mmdet detector with masks; left in evaluation mode.
        dataset: mmdet's, whose pipeline loads the annotations in the
            coordinates of the original image.
        number: How many images, fewer if there are not as many.
    """
    number = min(number, len(dataset))
    indices = [i * len(dataset) // number for i in range(number)]
    batch = pseudo_collate([dataset[i] for i in indices])
    model.eval()
    with torch.no_grad():
        outputs = model.test_step(batch)
    return [_sample(output) for output in outputs]


def _sample(output: DetDataSample) -> Sample:
    truth = output.gt_instances
    found = output.pred_instances.cpu()
    found = found[found.scores >= SCORE_SHOWN]
    return Sample(
        Path(output.img_path),
        Instances(
            get_box_tensor(truth.bboxes).cpu().numpy(),
            truth.masks.to_ndarray().astype(bool),
            truth.labels.tolist(),
        ),
        Instances(
            found.bboxes.numpy(),
            found.masks.numpy(),
            found.labels.tolist(),
            found.scores.tolist(),
        ),
    )
