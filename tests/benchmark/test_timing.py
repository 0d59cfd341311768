# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What is said from the times of a paired run."""

from itertools import product

import numpy as np
import pytest

from ivit.benchmark.timing import (
    WARM_UP,
    interleave,
    median_interval,
    quantile,
    ratios,
)


def test_order_moves_on_and_all_rounds_are_counted():
    ran = []
    passes = {name: (lambda n=name: ran.append(n)) for name in 'abc'}
    times = interleave(passes, 4, 'cpu')
    assert {name: len(t) for name, t in times.items()} == dict(a=4, b=4, c=4)
    rounds = [''.join(ran[i : i + 3]) for i in range(0, len(ran), 3)]
    assert rounds == ['abc', 'bca', 'cab', 'abc', 'bca', 'cab']
    assert len(rounds) == 4 + WARM_UP


@pytest.mark.parametrize('share', [0, 0.1, 0.5, 0.9, 1])
def test_quantile(share):
    values = [5.0, 1.0, 2.5, 9.0, 4.0, 4.5, 0.5]
    assert quantile(values, share) == pytest.approx(np.quantile(values, share))


@pytest.mark.parametrize('n', [5, 6, 9, 12])
def test_interval_holds_the_median_often_enough(n):
    """Every way in which n values can lie around the median is as likely."""
    interval = median_interval([float(i) for i in range(n)])
    if n < 6:  # 1 of 16 times all five lie on one side
        assert interval is None
        return
    low, high = map(int, interval)

    def coverage(low, high):
        # With b values below it the median lies between values b - 1 and b.
        below = [sum(signs) for signs in product((0, 1), repeat=n)]
        return sum(low < b <= high for b in below) / len(below)

    assert coverage(low, high) >= 0.95
    assert coverage(low + 1, high - 1) < 0.95


def test_ratios_are_of_pairs():
    # Medians of the times, 2 and 2, say nothing of the pairs.
    speed, interval = ratios([1.0, 2.0, 8.0], [0.5, 2.0, 2.0])
    assert speed == 2
    assert interval is None
