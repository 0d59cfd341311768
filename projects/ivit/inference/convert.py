# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""From the frameworks' data samples to results."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..annotations import Task
from ..engine import UsageError
from .results import Classification, Detections, LabelMap, Picture, Result


def to_detections(output: Any, picture: Picture, score: float) -> Detections:
    """The objects of a ``DetDataSample``.

    Args:
        output: What mmdet predicts.
        picture: The image.
        score: The least score of an object that is kept.
    """
    found = _field(output, 'pred_instances')
    found = found[found.scores >= score].cpu()
    # From the highest score to the lowest, also where mmdet sorts by class.
    found = found[torch.argsort(found.scores, descending=True, stable=True)]
    labels = found.labels.numpy().astype(np.int64)
    masks = None
    if 'masks' in found:
        masks = found.masks.numpy().astype(bool)
    boxes = getattr(found.bboxes, 'tensor', found.bboxes)
    return Detections(
        boxes=boxes.numpy().astype(np.float32),
        scores=found.scores.numpy().astype(np.float32),
        labels=labels,
        names=[picture.classes[label] for label in labels],
        masks=masks,
        picture=picture,
    )


def to_label_map(output: Any, picture: Picture, score: float) -> LabelMap:
    """The label map of a ``SegDataSample``.

    Args:
        output: What mmseg predicts.
        picture: The image.
        score: Not used: every pixel has a class.
    """
    labels = _field(output, 'pred_sem_seg').data[0]
    logits = output.seg_logits.data
    if len(logits) == 1:  # mmseg has made probabilities of these
        scores = torch.where(labels > 0, logits[0], 1 - logits[0])
    else:
        # The softmax of the largest one.
        best = logits.amax(0)
        scores = torch.exp(best - logits.logsumexp(0))
    kind = np.uint8 if len(picture.classes) <= 256 else np.uint16
    return LabelMap(
        labels=labels.cpu().numpy().astype(kind),
        names=list(picture.classes),
        scores=scores.float().cpu().numpy(),
        picture=picture,
    )


def to_classification(
    output: Any, picture: Picture, score: float
) -> Classification:
    """The class of a ``DataSample``.

    Args:
        output: What mmpretrain predicts.
        picture: The image.
        score: Not used: every image has a class.
    """
    scores = _field(output, 'pred_score').cpu().numpy().astype(np.float32)
    label = int(scores.argmax())
    return Classification(
        label=label,
        name=picture.classes[label],
        score=float(scores[label]),
        scores=scores,
        picture=picture,
    )


#: What turns the output of a model of each task into a result.
CONVERTERS: dict[Task, Callable[[Any, Picture, float], Result]] = {
    'detection': to_detections,
    'segmentation': to_label_map,
    'classification': to_classification,
}


def _field(output: Any, name: str) -> Any:
    """A field of a data sample.

    Raises:
        UsageError: If the model predicts something else.
    """
    if name not in output:
        raise UsageError(
            f'the model predicts {", ".join(output.keys()) or "nothing"}, '
            f'not {name}; predictions are of detectors, semantic segmentors '
            'and classifiers'
        )
    return output.get(name)
