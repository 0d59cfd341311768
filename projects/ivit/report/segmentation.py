# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What a report says of semantic segmentation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmseg.evaluation import IoUMetric

from .confusion import confusion_section
from .history import NOT_AVAILABLE, History
from .markup import (
    Pair,
    Section,
    counted,
    join_pairs,
    join_tables,
    list_metrics,
    make_legend,
    make_table,
    shown,
)
from .overlay import draw_label_map
from .ranking import Worst
from .training import training_section
from .validation import ValidationImages, image_path, spread

PAIRS = 12
MOST_IN_LEGEND = 60
IGNORED = 255


@dataclass
class LabelMaps:
    """An image and its label maps, both ``(H, W)`` int64.

    Attributes:
        path: The image file.
        truth: What is annotated.
        prediction: What the model predicts.
    """

    path: Path
    truth: torch.Tensor
    prediction: torch.Tensor


@dataclass
class Areas:
    """Pixels of each class, ``(classes,)`` float64, as mmseg counts them.

    Sums of float32, which mmseg has, are no longer whole numbers for many
    images.
    """

    intersection: torch.Tensor
    union: torch.Tensor
    predicted: torch.Tensor
    labelled: torch.Tensor

    @classmethod
    def of(cls, maps: LabelMaps, classes: int, ignored: int) -> 'Areas':
        """Count the pixels of one image."""
        counted_areas = IoUMetric.intersect_and_union(
            maps.prediction, maps.truth, classes, ignored
        )
        return cls(*(area.double() for area in counted_areas))

    def __add__(self, other: 'Areas') -> 'Areas':
        return Areas(
            self.intersection + other.intersection,
            self.union + other.union,
            self.predicted + other.predicted,
            self.labelled + other.labelled,
        )

    def by_class(self) -> dict[str, np.ndarray]:
        """``IoU`` and ``Acc`` of each class, NaN where there is none of it."""
        metrics = IoUMetric.total_area_to_metrics(
            self.intersection, self.union, self.predicted, self.labelled
        )
        return {name: metrics[name] for name in ('IoU', 'Acc')}

    def mean_iou(self) -> float:
        """The mean IoU of the classes that are annotated; NaN for none."""
        present = (self.labelled > 0).numpy()
        ious = self.by_class()['IoU'][present]
        return float(ious.mean()) if present.any() else float('nan')


def headline(history: History) -> dict[str, str]:
    """The numbers to begin with, by their names."""
    return {
        f'{name}, %': history.shown(name, 2)
        for name in ('mIoU', 'mAcc', 'aAcc')
        if name == 'mIoU' or history.metric(name) is not None
    }


def make_sections(images: ValidationImages, history: History) -> list[Section]:
    """Look at the validation images and say what there is to say."""
    number = len(images.classes)
    ignored = getattr(images.dataset, 'ignore_index', IGNORED)
    areas: Areas | None = None
    confusion = np.zeros((number, number), np.int64)
    worst: Worst[LabelMaps] = Worst(PAIRS)
    even: list[tuple[float, LabelMaps]] = []
    shown_ones = set(spread(len(images.indices), PAIRS))
    for i, maps in enumerate(_read_maps(images)):
        own = Areas.of(maps, number, ignored)
        areas = own if areas is None else areas + own
        confusion += count_pixels(maps, number, ignored)
        score = own.mean_iou()
        if score < 1:  # neither perfect nor without annotated pixels
            worst.add(score, maps)
        if i in shown_ones:
            even.append((score, maps))
    return [
        _describe_metrics(images, areas, history),
        training_section(history),
        confusion_section(
            confusion,
            images.classes,
            number,
            f'Pixels, over {images.count}. Pixels that are annotated as '
            'ignored are left out.',
        ),
        _describe_pairs(
            'Worst images',
            f'Of {images.count}, those with the lowest mean IoU over the '
            'classes that are annotated in the image.'
            if worst.ranked()
            else f'None of {images.count} has a pixel that is wrong.',
            images,
            worst.ranked(),
            ignored,
        ),
        _describe_pairs(
            'Ground truth and prediction',
            f'{counted(len(even), "image")} at even intervals through the '
            'validation split, not chosen by result. Pixels that are '
            'annotated as ignored have no colour in the ground truth.',
            images,
            even,
            ignored,
        ),
    ]


def count_pixels(maps: LabelMaps, classes: int, ignored: int) -> np.ndarray:
    """What pixels are taken for.

    Args:
        maps: The label maps.
        classes: Number of classes; pixels with other labels are left out.
        ignored: The label of pixels to leave out.

    Returns:
        ``(classes, classes)`` int64: row the annotated class, column the
        predicted one.
    """
    truth, prediction = maps.truth.flatten(), maps.prediction.flatten()
    kept = (truth != ignored) & (truth >= 0) & (truth < classes)
    codes = truth[kept] * classes + prediction[kept]
    counts = torch.bincount(codes, minlength=classes**2)
    return counts.reshape(classes, classes).numpy()


def _read_maps(images: ValidationImages) -> Iterator[LabelMaps]:
    for output in images.predict():
        path = image_path(output)
        if 'gt_sem_seg' not in output:
            raise ValueError(
                f'no label map for {path}: the pipeline of the validation '
                'images needs LoadAnnotations, after Resize'
            )
        truth, prediction = (
            output.get(name).data.squeeze(0).cpu().long()
            for name in ('gt_sem_seg', 'pred_sem_seg')
        )
        if truth.shape != prediction.shape:
            raise ValueError(
                f'{path}: label map of {tuple(truth.shape)} pixels, but '
                f'prediction of {tuple(prediction.shape)}; put '
                "LoadAnnotations after Resize in the validation images' "
                'pipeline'
            )
        yield LabelMaps(path, truth, prediction)


def _describe_metrics(
    images: ValidationImages, areas: Any, history: History
) -> Section:
    metrics = areas.by_class()
    pixels = areas.labelled / areas.labelled.sum()
    rows = [
        (
            name,
            [
                shown(100 * metrics['IoU'][i], 2),
                shown(100 * metrics['Acc'][i], 2),
                shown(100 * float(pixels[i]), 2),
            ],
        )
        for i, name in enumerate(images.classes)
    ]
    return Section(
        'Metrics',
        'In percent. IoU: the pixels that are rightly of a class, over those '
        'that are annotated or predicted as it. Acc: over those annotated. '
        'mIoU and mAcc are means over the classes, aAcc is the share of all '
        f'pixels that are right; {NOT_AVAILABLE} for a class that does not '
        f'occur. By class: over {images.count}.',
        join_tables(
            list_metrics(history, 2),
            make_table(['IoU', 'Acc', 'Share of pixels'], rows),
        ),
    )


def _describe_pairs(
    heading: str,
    text: str,
    images: ValidationImages,
    scored: Sequence[tuple[float, LabelMaps]],
    ignored: int,
) -> Section:
    if not scored:
        return Section(heading, text, '')
    pairs = [_draw_pair(images, *one, ignored) for one in scored]
    occurring = {
        label
        for _, maps in scored
        for labels in (maps.truth, maps.prediction)
        for label in labels.unique().tolist()
    }
    number = len(images.classes)
    listed = [
        i for i in range(number) if number <= MOST_IN_LEGEND or i in occurring
    ]
    legend = make_legend(
        [images.classes[i] for i in listed],
        [images.palette[i] for i in listed],
    )
    return Section(heading, text, legend + join_pairs(pairs))


def _draw_pair(
    images: ValidationImages, score: float, maps: LabelMaps, ignored: int
) -> Pair:
    truth, prediction = maps.truth.numpy(), maps.prediction.numpy()
    # A class may have the number of ignored pixels.
    truth = np.where(truth == ignored, -1, truth)
    palette, name = images.palette, maps.path.name
    classes = len(np.unique(truth[truth >= 0]))
    iou = NOT_AVAILABLE if np.isnan(score) else f'{100 * score:.2f} %'
    return Pair(
        name,
        (
            draw_label_map(
                maps.path, truth, palette, f'Ground truth of {name}'
            ),
            f'{classes} {"class" if classes == 1 else "classes"}',
        ),
        (
            draw_label_map(
                maps.path, prediction, palette, f'Prediction of {name}'
            ),
            f'mean IoU {iou}',
        ),
    )
