# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What a report says of classification."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .confusion import confusion_section
from .history import NOT_AVAILABLE, History
from .markup import (
    Pair,
    Section,
    counted,
    join_pairs,
    join_tables,
    list_metrics,
    make_table,
    shown,
)
from .overlay import draw_image
from .ranking import Worst
from .training import training_section
from .validation import ValidationImages, image_path, spread

PAIRS = 12


@dataclass
class Guess:
    """An image with its class, and what the model takes it for.

    Attributes:
        path: The image file.
        truth: The number of its class.
        scores: ``(classes,)``, in 0..1.
    """

    path: Path
    truth: int
    scores: np.ndarray

    @property
    def prediction(self) -> int:
        """The class with the highest score."""
        return int(self.scores.argmax())


def headline(history: History) -> dict[str, str]:
    """The numbers to begin with, by their names."""
    return {
        f'{name.rpartition("/")[2]}, %': history.shown(name, 2)
        for name in ('accuracy/top1', 'accuracy/top5')
        if name == 'accuracy/top1' or history.metric(name) is not None
    }


def make_sections(images: ValidationImages, history: History) -> list[Section]:
    """Look at the validation images and say what there is to say."""
    number = len(images.classes)
    counts = np.zeros((number, number), np.int64)
    worst: Worst[Guess] = Worst(PAIRS)
    even = []
    shown_ones = set(spread(len(images.indices), PAIRS))
    for i, output in enumerate(images.predict()):
        guess = _read_guess(output)
        counts[guess.truth, guess.prediction] += 1
        if guess.truth != guess.prediction:
            worst.add(-float(guess.scores[guess.prediction]), guess)
        if i in shown_ones:
            even.append(guess)
    mistaken = [guess for _, guess in worst.ranked()]
    return [
        _describe_metrics(images, counts, history),
        training_section(history),
        confusion_section(
            counts, images.classes, number, f'Over {images.count}.'
        ),
        Section(
            'Worst images',
            f'Of {images.count}, those whose wrong class has the highest '
            'score.'
            if mistaken
            else f'None of {images.count} is taken for another class.',
            join_pairs(_draw_pair(images, guess) for guess in mistaken),
        ),
        Section(
            'Ground truth and prediction',
            f'{counted(len(even), "image")} at even intervals through the '
            'validation split, not chosen by result.',
            join_pairs(_draw_pair(images, guess) for guess in even),
        ),
    ]


def _read_guess(output: Any) -> Guess:
    path = image_path(output)
    truth, scores = output.get('gt_label'), output.get('pred_score')
    if truth is None or scores is None or truth.numel() != 1:
        raise ValueError(
            f'{path}: the report of a classifier needs one class for each '
            'image, and a score for each class'
        )
    return Guess(path, int(truth), scores.float().cpu().numpy())


def _describe_metrics(
    images: ValidationImages, counts: np.ndarray, history: History
) -> Section:
    with np.errstate(invalid='ignore'):
        recall = counts.diagonal() / counts.sum(1)
        precision = counts.diagonal() / counts.sum(0)
    rows = [
        (
            name,
            [
                f'{counts[i].sum():,}',
                shown(100 * recall[i], 2),
                shown(100 * precision[i], 2),
            ],
        )
        for i, name in enumerate(images.classes)
    ]
    return Section(
        'Metrics',
        'In percent. Recall: the share of the images of a class that are '
        'taken for it. Precision: the share of those taken for it that are '
        f'of it; {NOT_AVAILABLE} where there are none. By class: over '
        f'{images.count}.',
        join_tables(
            list_metrics(history, 2),
            make_table(['Images', 'Recall', 'Precision'], rows),
        ),
    )


def _draw_pair(images: ValidationImages, guess: Guess) -> Pair:
    name = guess.path.name
    lines: Sequence[str] = [
        f'{images.classes[i]} {guess.scores[i]:.2f}'
        for i in (guess.truth, guess.prediction)
    ]
    picture = draw_image(guess.path, name)
    return Pair(name, (picture, lines[0]), (picture, lines[1]))
