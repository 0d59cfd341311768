# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""How far two predictions of one image are apart."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_iou

#: What an export may be off by: scores and probabilities, and pixels.
SCORE, PIXELS = 1e-3, 0.1
# Two boxes that overlap by so little more or less than the NMS allows are a
# tie, which rounding decides.
TIE = 1e-3
# More pixels of another label are no ties.
TIES_OF_LABELS = 1e-3


@dataclass
class Differences:
    """The largest differences, over all images.

    Attributes:
        images: Number of images.
        largest: By what was compared, in the unit of that.
        compared: Number of objects, or of pixels.
        ties: Objects that only one of the two has, since a score is at the
            threshold or an overlap at that of the NMS.
        unexplained: Objects that only one of the two has, and pixels of
            other labels, for no such reason.
    """

    images: int = 0
    largest: dict[str, float] = field(default_factory=dict)
    compared: int = 0
    ties: int = 0
    unexplained: int = 0

    def add(self, name: str, value: Tensor) -> None:
        """Take the largest of some differences into account."""
        if value.numel():
            # What is no number is as far away as can be.
            largest = float(value.abs().nan_to_num(torch.inf).max())
            self.largest[name] = max(self.largest.get(name, 0.0), largest)

    def add_scores(self, one: Tensor, other: Tensor) -> None:
        """Compare the probabilities of classes."""
        self.images += 1
        self.compared += len(one)
        self.add('score', one - other)

    def add_maps(self, one: Tensor, other: Tensor) -> None:
        """Compare a map of features, relative to its largest value."""
        self.images += 1
        self.compared += one.numel()
        self.add('map, relative', (one - other) / one.abs().max())

    def add_labels(
        self, logits: Tensor, labels: Tensor, threshold: float
    ) -> None:
        """Compare a label map with what the reference has for each class.

        Where labels differ, the logit of the one has to be as high as that
        of the other, but for rounding: the difference is told in parts of
        the spread of all logits.

        Args:
            logits: ``(C, H, W)``; of a single class, its probabilities.
            labels: ``(H, W)``.
            threshold: Of the probabilities of a single class.
        """
        self.images += 1
        self.compared += labels.numel()
        if len(logits) == 1:
            expected = logits[0] > threshold
            differ = labels.bool() != expected
            self.add('score', (logits[0] - threshold)[differ])
        else:
            differ = labels != logits.argmax(0)
            chosen = logits.gather(0, labels[None])[0]
            self.add(
                'logit, relative', (logits.amax(0) - chosen) / _spread(logits)
            )
        self.ties += int(differ.sum())
        if differ.sum() > TIES_OF_LABELS * labels.numel():
            self.unexplained += int(differ.sum())

    def add_logits(self, one: Tensor, other: Tensor) -> None:
        """Compare logits ``(C, H, W)``, or probabilities of one class."""
        name = 'score' if len(one) == 1 else 'logit, relative'
        scale = 1 if len(one) == 1 else _spread(one)
        self.add(name, (one - other) / scale)

    def add_objects(
        self,
        one: Any,
        other: Any,
        threshold: float,
        iou_threshold: float,
        max_out: int,
    ) -> None:
        """Compare the objects that two models found in an image.

        Args:
            one: Instances of the reference, with boxes in pixels.
            other: Instances of the export.
            threshold: The least score that was kept.
            iou_threshold: Of the NMS.
            max_out: How many objects were kept at most.
        """
        self.images += 1
        pairs = _match(one, other)
        thresholds = [threshold]
        if max_out in (len(one), len(other)):  # the last ones were cut off
            scores = torch.cat([one.scores, other.scores])
            thresholds.append(float(scores.min()))
        self.compared += len(pairs)
        if len(pairs):
            first, second = pairs.T
            self.add('score', one.scores[first] - other.scores[second])
            self.add('pixels', one.bboxes[first] - other.bboxes[second])
            if 'masks' in one:
                differing = one.masks[first] != other.masks[second]
                area = one.masks[first].sum((1, 2)).clamp(min=1)
                self.add('mask, share', differing.sum((1, 2)) / area)
        for these, those, taken in (
            (one, other, pairs[:, 0]),
            (other, one, pairs[:, 1]),
        ):
            left = torch.ones(len(these), dtype=torch.bool)
            left[taken] = False
            for i in left.nonzero().flatten():
                single = these[int(i)]
                if _is_tie(single, those, thresholds, iou_threshold):
                    self.ties += 1
                else:
                    self.unexplained += 1

    def problems(self) -> list[str]:
        """What is beyond the tolerances, in words."""
        limits = {
            'score': SCORE,
            'pixels': PIXELS,
            'map, relative': SCORE,
            'logit, relative': SCORE,
            'mask, share': 0.05,
        }
        found = [
            f'{name} differs by {self.largest[name]:.2g}, more than {limit:g}'
            for name, limit in limits.items()
            if not self.largest.get(name, 0.0) <= limit
        ]
        if self.unexplained:
            found.append(f'{self.unexplained} objects or pixels differ')
        return found

    def __str__(self) -> str:
        largest = ', '.join(
            f'{name} {value:.2g}' for name, value in self.largest.items()
        )
        text = f'{self.images} images, {self.compared:,} values compared'
        if largest:
            text += f'; largest differences: {largest}'
        if self.ties:
            text += f'; {self.ties} ties that rounding decides'
        return text


def _spread(logits: Tensor) -> Tensor:
    return logits.std().clamp(min=torch.finfo(logits.dtype).tiny)


def _match(one: Any, other: Any) -> Tensor:
    """Pairs ``(n, 2)`` of the same object: the same label, nearest boxes."""
    if not len(one) or not len(other):
        return torch.zeros(0, 2, dtype=torch.long)
    far = torch.cdist(one.bboxes, other.bboxes, p=torch.inf)
    far[one.labels[:, None] != other.labels[None]] = torch.inf
    # An object that lies in the same place twice, with other scores.
    far = far + (one.scores[:, None] - other.scores[None]).abs()
    pairs = []
    for i in one.scores.argsort(descending=True).tolist():
        j = int(far[i].argmin())
        if far[i, j] <= 1:  # a pixel; less is for the tolerances to judge
            pairs.append((i, j))
            far[:, j] = torch.inf
    return torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)


def _is_tie(
    single: Any,
    others: Any,
    thresholds: list[float],
    iou_threshold: float,
) -> bool:
    """Whether rounding alone may have taken an object from the others."""
    score = float(single.scores[0])
    if any(abs(score - threshold) <= SCORE for threshold in thresholds):
        return True
    same = others.labels == single.labels
    if not same.any():
        return False
    overlaps = box_iou(single.bboxes, others.bboxes[same])
    return bool(((overlaps - iou_threshold).abs() <= TIE).any())
