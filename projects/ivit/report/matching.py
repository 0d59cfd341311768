# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Which detection is of which object."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from mmdet.evaluation import bbox_overlaps

from .instances import Instances, Sample

#: Least overlap, as intersection over union, of a detection and its object.
MATCH_IOU = 0.5
#: Detections with a lower score are left out.
MATCH_SCORE = 0.3


class Matches(NamedTuple):
    """Objects and detections of an image, by their numbers.

    Attributes:
        pairs: Objects with the detection of each.
        missed: Objects without a detection.
        spurious: Detections without an object.
    """

    pairs: list[tuple[int, int]]
    missed: list[int]
    spurious: list[int]


def match(truth: Instances, found: Instances) -> Matches:
    """Give each detection, best score first, the object it overlaps most.

    An object has one detection at most. Classes play no part, so that a pair
    shows what is taken for what. A detection inside a crowd is left out.

    Args:
        truth: The objects.
        found: The detections; those with a lower score than ``MATCH_SCORE``
            are left out.
    """
    # The objects that are still without a detection.
    free = [i for i in range(len(truth)) if i not in truth.crowds]
    crowds = sorted(truth.crowds)
    overlaps = bbox_overlaps(found.boxes, truth.boxes)
    shares = bbox_overlaps(found.boxes, truth.boxes[crowds], mode='iof')
    pairs, spurious = [], []
    scores = np.array(found.scores or [])
    for i in map(int, np.argsort(-scores, kind='stable')):
        if scores[i] < MATCH_SCORE:
            break
        best = max(free, key=lambda j: overlaps[i, j], default=None)
        if best is not None and overlaps[i, best] >= MATCH_IOU:
            pairs.append((best, i))
            free.remove(best)
        elif not (shares[i] >= MATCH_IOU).any():
            spurious.append(i)
    return Matches(pairs, free, spurious)


def count_confusions(
    samples: Sequence[Sample], matches: Sequence[Matches], classes: int
) -> np.ndarray:
    """What the detections take objects for.

    Returns:
        ``(classes + 1, classes + 1)`` int64: row the class of the object,
        column that of the detection. The last row is detections of no
        object, the last column missed objects.
    """
    counts = np.zeros((classes + 1, classes + 1), np.int64)
    for sample, matched in zip(samples, matches, strict=True):
        there, seen = sample.truth.labels, sample.prediction.labels
        for i, j in matched.pairs:
            counts[there[i], seen[j]] += 1
        for i in matched.missed:
            counts[there[i], classes] += 1
        for j in matched.spurious:
            counts[classes, seen[j]] += 1
    return counts


class Score(NamedTuple):
    """How well an image was done.

    Attributes:
        f1: Twice the right detections over all objects and detections; 1
            where there is nothing to find and nothing was found.
        mistakes: Objects and detections that are not right.
    """

    f1: float
    mistakes: int


def score_image(sample: Sample, matched: Matches) -> Score:
    """Score the detections of one image."""
    there, seen = sample.truth.labels, sample.prediction.labels
    right = sum(there[i] == seen[j] for i, j in matched.pairs)
    everything = (
        2 * len(matched.pairs) + len(matched.missed) + len(matched.spurious)
    )
    f1 = 2 * right / everything if everything else 1.0
    return Score(f1, everything - 2 * right)


def find_mistakes(sample: Sample, matched: Matches) -> tuple[set, set]:
    """The numbers of the objects and of the detections that are wrong."""
    there, seen = sample.truth.labels, sample.prediction.labels
    wrong = [(i, j) for i, j in matched.pairs if there[i] != seen[j]]
    return (
        {i for i, _ in wrong} | set(matched.missed),
        {j for _, j in wrong} | set(matched.spurious),
    )


def find_worst(scores: Sequence[Score], number: int) -> list[int]:
    """The images with mistakes that were done worst, worst first.

    Of images with the same score the one with more mistakes comes first.
    """
    order = sorted(
        (i for i, score in enumerate(scores) if score.mistakes),
        key=lambda i: (scores[i].f1, -scores[i].mistakes, i),
    )
    return order[:number]
