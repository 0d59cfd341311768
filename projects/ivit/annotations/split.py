# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Set images aside for validation where the data has no such split."""

import random
from dataclasses import replace

from .records import AnnotatedData

SHARE = 0.2
SEED = 0


def ensure_validation(data: AnnotatedData) -> AnnotatedData:
    """Give data a validation split, if it has none.

    A fifth of the training images, chosen by a seed, is set aside: the same
    ones every time.

    Raises:
        ValueError: If there are fewer than two images.
    """
    if 'val' in data.splits:
        return data
    train = data.splits['train']
    count = len(train)
    if count < 2:
        raise ValueError(
            f'{data.root} has {count} image for training and none for '
            'validation; at least two are needed'
        )
    chosen = set(
        random.Random(SEED).sample(range(count), max(1, round(SHARE * count)))
    )
    splits = dict(
        data.splits,
        train=train.subset([i for i in range(count) if i not in chosen]),
        val=train.subset(sorted(chosen)),
    )
    note = (
        f'There is no validation split: {len(chosen)} of {count} training '
        f'images are set aside for it (seed {SEED}).'
    )
    return replace(data, splits=splits, notes=[*data.notes, note])
