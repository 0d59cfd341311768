# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What counts as a difference between two predictions."""

import pytest
import torch
from mmengine.structures import InstanceData

from ivit.export.differences import Differences

RULES = dict(threshold=0.05, iou_threshold=0.5, max_out=100)
BOXES = [[10, 10, 30, 30], [40, 40, 70, 60], [11, 10, 31, 30]]


def instances(boxes=BOXES, scores=(0.9, 0.8, 0.7), labels=(0, 0, 1), **more):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    number = len(boxes)
    return InstanceData(
        bboxes=boxes,
        scores=torch.tensor(scores[:number]),
        labels=torch.tensor(labels[:number]),
        **more,
    )


def compare(one, other, **rules):
    differences = Differences()
    differences.add_objects(one, other, **RULES | rules)
    return differences


def test_the_same_objects_in_another_order_are_the_same():
    one, other = instances(), instances()[[2, 0, 1]]
    differences = compare(one, other)
    assert differences.compared == 3
    assert differences.largest == {'score': 0, 'pixels': 0}
    assert not differences.problems()


def test_the_largest_difference_is_told():
    other = instances(scores=(0.9, 0.8004, 0.7))
    other.bboxes[1, 2] += 0.05
    differences = compare(instances(), other)
    assert differences.largest['score'] == pytest.approx(4e-4, rel=1e-2)
    assert differences.largest['pixels'] == pytest.approx(0.05, rel=1e-2)
    assert not differences.problems()


@pytest.mark.parametrize(
    ('change', 'word'),
    [
        (lambda other: other.scores.add_(0.002), 'score'),
        (lambda other: other.bboxes.add_(0.2), 'pixels'),
        (lambda other: other.labels.fill_(1), 'differ'),
        (lambda other: other.bboxes.add_(5), 'differ'),
        (lambda other: other.scores.fill_(torch.nan), 'differ'),
    ],
)
def test_more_than_the_tolerance_is_a_problem(change, word):
    other = instances()
    change(other)
    assert any(word in text for text in compare(instances(), other).problems())


def test_an_object_too_few_or_too_many_is_a_problem():
    for pair in (
        (instances(), instances()[:2]),
        (instances()[1:], instances()),
    ):
        assert compare(*pair).unexplained == 1
        assert compare(*pair).problems()
    assert compare(instances(), instances()[:0]).unexplained >= 2


def test_what_is_at_a_threshold_is_a_tie():
    least = instances(scores=(0.9, 0.8, 0.0505))
    differences = compare(least, least[:2])
    assert (differences.ties, differences.unexplained) == (1, 0)
    differences = compare(instances(), instances()[:2], max_out=3)
    assert (differences.ties, differences.unexplained) == (1, 0)
    # Two boxes whose overlap is what the NMS allows: 20 and 30 of 20 x 20.
    boxes = [[0, 0, 20, 20], [0, 0, 20, 40]]
    pair = instances(boxes, labels=(0, 0), scores=(0.9, 0.8))
    differences = compare(pair, pair[:1])
    assert (differences.ties, differences.unexplained) == (1, 0)


def test_masks_are_compared_by_their_area():
    mask = torch.zeros(3, 80, 80, dtype=torch.bool)
    mask[:, 10:20, 10:20] = True
    other = mask.clone()
    other[0, 10, 10:12] = False
    differences = compare(instances(masks=mask), instances(masks=other))
    assert differences.largest['mask, share'] == pytest.approx(0.02)


@pytest.mark.parametrize('scale', [1, 0.01])
def test_labels_may_differ_where_logits_are_equal(scale):
    """However little sure a model of many classes is."""
    logits = torch.randn(150, 40, 50, generator=torch.manual_seed(0))
    logits[0] = 5
    logits[1, 0, 0] = 5 + 1e-5
    logits *= scale
    labels = torch.zeros(40, 50, dtype=torch.long)
    differences = Differences()
    differences.add_labels(logits, labels, 0.5)
    assert differences.ties == 1
    assert not differences.problems()
    labels[2, 2] = 2
    differences.add_labels(logits, labels, 0.5)
    assert any('logit' in text for text in differences.problems())


def test_many_labels_that_differ_are_no_ties():
    logits = torch.zeros(3, 40, 50)
    logits[0, 0, 0] = 1  # all others are equal
    differences = Differences()
    labels = torch.ones(40, 50, dtype=torch.long)
    differences.add_labels(logits, labels, 0.5)
    assert any('1999' in t or '2000' in t for t in differences.problems())


def test_labels_of_a_single_class_are_compared_by_the_threshold():
    probabilities = torch.full((1, 40, 50), 0.2)
    probabilities[0, 0] = 0.7
    probabilities[0, 1, 0] = 0.6 + 1e-6
    labels = (probabilities[0] > 0.6).long()
    labels[1, 0] = 0
    differences = Differences()
    differences.add_labels(probabilities, labels, 0.6)
    assert differences.ties == 1
    assert not differences.problems()
    labels[0] = 0
    differences.add_labels(probabilities, labels, 0.6)
    assert differences.problems()


def test_logits_are_compared_by_their_spread():
    logits = torch.randn(3, 8, 8, generator=torch.manual_seed(0)) * 0.01
    differences = Differences()
    differences.add_logits(logits, logits + 1e-6)
    assert not differences.problems()
    differences.add_logits(logits, logits + 1e-3)
    assert any('logit' in text for text in differences.problems())


def test_maps_and_scores():
    differences = Differences()
    differences.add_scores(torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.5]))
    one = torch.ones(1, 2, 2, 2) * 4
    differences.add_maps(one, one + 0.001)
    assert differences.largest['map, relative'] == pytest.approx(
        2.5e-4, rel=1e-2
    )
    assert not differences.problems()
    differences.add_maps(one, one + 0.01)
    assert differences.problems()
