# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import itertools

import numpy as np
import pytest

pytest.importorskip('mmdet')

from ivit.report.instances import Instances, Sample
from ivit.report.matching import (
    count_confusions,
    find_mistakes,
    find_worst,
    match,
    score_image,
)


def objects(*rows, crowds=()):
    table = np.array(rows, float).reshape(-1, 5)
    labels = table[:, 4].astype(int).tolist()
    return Instances(table[:, :4], labels, crowds=set(crowds))


def detections(*rows):
    table = np.array(rows, float).reshape(-1, 6)
    labels = table[:, 4].astype(int).tolist()
    return Instances(table[:, :4], labels, table[:, 5].tolist())


def sample(truth, found):
    return Sample('x.png', (64, 64), truth, found)


HAND_MADE = sample(
    objects((0, 0, 10, 10, 0), (20, 0, 30, 10, 1), (40, 0, 50, 10, 2)),
    detections(
        (0, 0, 10, 9, 0, 0.6),  # right, but a better one of the wrong class
        (0, 0, 10, 10, 1, 0.9),  # takes the object
        (20, 0, 30, 5, 1, 0.5),  # an IoU of 0.5 exactly
        (40, 0, 50, 4.9, 2, 0.8),  # a little less
        (40, 0, 50, 10, 2, 0.29),  # scores too little
    ),
)


def test_best_score_first():
    matches = match(HAND_MADE.truth, HAND_MADE.prediction)
    assert sorted(matches.pairs) == [(0, 1), (1, 2)]
    assert matches.missed == [2]
    assert sorted(matches.spurious) == [0, 3]


def test_confusions():
    matches = match(HAND_MADE.truth, HAND_MADE.prediction)
    counts = count_confusions([HAND_MADE] * 2, [matches] * 2, 3)
    expected = np.zeros((4, 4), int)
    expected[0, 1] = expected[1, 1] = 2
    expected[2, 3] = 2  # missed
    expected[3, 0] = expected[3, 2] = 2  # where no object is
    assert (counts == expected).all()


def test_score_and_mistakes_of_an_image():
    matches = match(HAND_MADE.truth, HAND_MADE.prediction)
    score = score_image(HAND_MADE, matches)
    # Of 3 objects and 4 detections one pair is right.
    assert score.f1 == pytest.approx(2 * 1 / (3 + 4))
    assert score.mistakes == 5
    assert find_mistakes(HAND_MADE, matches) == ({0, 2}, {0, 1, 3})


def test_crowds_are_neither_right_nor_wrong():
    truth = objects((0, 0, 60, 60, 0), (5, 5, 15, 15, 0), crowds=[0])
    found = detections((5, 5, 15, 15, 0, 0.9), (30, 30, 40, 40, 0, 0.9))
    matches = match(truth, found)
    assert matches == ([(1, 0)], [], [])
    outside = detections((5, 5, 15, 15, 0, 0.9), (50, 0, 90, 10, 0, 0.8))
    assert match(truth, outside).spurious == [1]


@pytest.mark.parametrize(
    ('truth', 'found', 'f1'),
    [
        (objects(), detections(), 1),
        (objects(), detections((0, 0, 9, 9, 0, 0.9)), 0),
        (objects((0, 0, 9, 9, 0)), detections(), 0),
    ],
)
def test_nothing_there_or_nothing_found(truth, found, f1):
    one = sample(truth, found)
    matches = match(truth, found)
    score = score_image(one, matches)
    assert score.f1 == f1
    assert score.mistakes == 1 - f1
    assert count_confusions([one], [matches], 1).sum() == 1 - f1


def iou(a, b):
    """In float64, of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    return both / (sum(areas) - both)


def test_against_a_naive_matching():
    rng = np.random.default_rng(0)
    for _ in range(50):
        numbers = rng.integers(0, 12, 2)
        boxes = [rng.uniform(0, 30, (n, 2)) for n in numbers]
        boxes = [np.concatenate([b, b + 25], 1) for b in boxes]
        labels = [rng.integers(0, 3, n).tolist() for n in numbers]
        scores = rng.uniform(0, 1, numbers[1]).tolist()
        matches = match(
            Instances(boxes[0], labels[0]),
            Instances(boxes[1], labels[1], scores),
        )
        taken, pairs = set(), set()
        for j in sorted(range(numbers[1]), key=lambda j: -scores[j]):
            free = [i for i in range(numbers[0]) if i not in taken]
            if scores[j] < 0.3 or not free:
                continue
            overlap, i = max((iou(boxes[0][i], boxes[1][j]), i) for i in free)
            if overlap >= 0.5:
                taken.add(i)
                pairs.add((i, j))
        assert set(matches.pairs) == pairs
        kept = {j for j, score in enumerate(scores) if score >= 0.3}
        assert set(matches.spurious) == kept - {j for _, j in pairs}
        assert set(matches.missed) == set(range(numbers[0])) - taken


def test_order_of_the_worst():
    good = objects((0, 0, 10, 10, 0))
    cases = {
        'perfect': (good, detections((0, 0, 10, 10, 0, 0.9))),
        'missed': (good, detections()),
        'missed and a wrong one': (good, detections((30, 0, 40, 9, 0, 0.9))),
        'one too many': (
            good,
            detections((0, 0, 10, 10, 0, 0.9), (30, 0, 40, 9, 0, 0.9)),
        ),
        'empty': (objects(), detections()),
    }
    expected = ['missed and a wrong one', 'missed', 'one too many']
    for names in itertools.permutations(cases):
        scores = [
            score_image(sample(*cases[name]), match(*cases[name]))
            for name in names
        ]
        assert [names[i] for i in find_worst(scores, 12)] == expected
        assert [names[i] for i in find_worst(scores, 2)] == expected[:2]
