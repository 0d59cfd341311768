# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Count the pixels of COCO's compressed run lengths.

pycocotools decodes runs that are too few for their image without a word, and
what lies behind them is whatever the memory held. A sum tells them apart.
"""

from collections.abc import Sequence

import numpy as np

# A character is 6 bits of a number above 48: five of its value, lowest
# first, and one that says whether more follow.
FIRST = 48
MORE = 32
SIGN = 16
# pycocotools' numbers have 32 bits.
MOST_CHARACTERS = 7
AT_ONCE = 200_000  # characters


def count_pixels(strings: Sequence[bytes]) -> np.ndarray:
    """The number of pixels that runs cover.

    Args:
        strings: ``counts`` of compressed masks.

    Returns:
        A number for each, -1 where it is not of that code.
    """
    totals = np.full(len(strings), -1, np.int64)
    group: list[int] = []
    length = 0
    for position, string in enumerate(strings):
        if string:
            group.append(position)
            length += len(string)
        if length >= AT_ONCE:
            totals[group] = _count([strings[i] for i in group])
            group, length = [], 0
    if group:
        totals[group] = _count([strings[i] for i in group])
    return totals


def _count(strings: Sequence[bytes]) -> np.ndarray:
    """The same for strings that are not empty, all at once."""
    codes = np.frombuffer(b''.join(strings), np.uint8).astype(np.int64) - FIRST
    ends = np.cumsum([len(string) for string in strings]) - 1
    starts = np.concatenate([[0], ends[:-1] + 1])
    malformed = np.logical_or.reduceat((codes < 0) | (codes > 63), starts)
    last = codes & MORE == 0
    malformed |= ~last[ends]
    last[ends] = True  # so that a string does not run into the next one

    # Characters to numbers.
    number_ends = np.flatnonzero(last)
    number_starts = np.concatenate([[0], number_ends[:-1] + 1])
    lengths = number_ends - number_starts + 1
    digit = np.arange(len(codes)) - np.repeat(number_starts, lengths)
    too_long = digit >= MOST_CHARACTERS
    malformed |= np.logical_or.reduceat(too_long, starts)
    shift = 5 * np.minimum(digit, MOST_CHARACTERS)
    numbers = np.add.reduceat((codes & 31) << shift, number_starts)
    is_negative = (codes[number_ends] & SIGN) != 0
    numbers -= is_negative << (5 * np.minimum(lengths, MOST_CHARACTERS + 1))

    # From the fourth on, a number is the difference to the one before the
    # one before: it counts once for itself and once for each that follows
    # from it. The first three count for themselves, and the second and third
    # for those that follow.
    firsts = np.searchsorted(number_ends, starts)
    counts = np.diff(np.append(firsts, len(numbers)))
    place = np.arange(len(numbers)) - np.repeat(firsts, counts)
    times = (np.repeat(counts, counts) - 1 - place) // 2 + 1
    times[firsts] = 1
    totals = np.add.reduceat(numbers * times, firsts)
    totals[malformed] = -1
    return totals
