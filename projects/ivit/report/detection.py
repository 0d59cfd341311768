# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What a report says of detection and instance segmentation."""

from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from typing import Literal

from .average_precision import evaluate_classes
from .confusion import confusion_section
from .history import History
from .instances import Instances, Sample, choose_evenly, collect_samples
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
from .matching import (
    MATCH_IOU,
    MATCH_SCORE,
    Score,
    count_confusions,
    find_mistakes,
    find_worst,
    match,
    score_image,
)
from .overlay import draw_instances
from .training import training_section
from .validation import ValidationImages

#: Detections with a lower score are not drawn beside the ground truth.
SCORE_SHOWN = 0.5
PAIRS = 12
METRICS = {
    'mAP': 'AP',
    'mAP_50': 'AP50',
    'mAP_75': 'AP75',
    'mAP_s': 'AP small',
    'mAP_m': 'AP medium',
}
KINDS = {'bbox': 'Box', 'segm': 'Mask'}
BACKGROUND = 'background'


def headline(history: History) -> dict[str, str]:
    """The numbers to begin with, by their names."""
    return {
        f'{KINDS[kind]} {METRICS[name]}': history.shown(f'coco/{kind}_{name}')
        for name in ('mAP_50', 'mAP')
        for kind in _logged_kinds(history)
    }


def make_sections(images: ValidationImages, history: History) -> list[Section]:
    """Look at the validation images and say what there is to say."""
    samples = collect_samples(images)
    classes = images.classes
    matches = [match(s.truth, s.prediction) for s in samples]
    scores = [
        score_image(sample, matched)
        for sample, matched in zip(samples, matches, strict=True)
    ]
    counts = count_confusions(samples, matches, len(classes))
    worst = [
        _draw_mistakes(images, samples[i], find_mistakes(*at), scores[i])
        for i in find_worst(scores, PAIRS)
        for at in [(samples[i], matches[i])]
    ]
    return [
        _describe_metrics(images, samples, history),
        training_section(history),
        confusion_section(
            counts,
            [*classes, BACKGROUND],
            len(classes),
            f'Over {images.count}. Each detection that scores '
            f'{MATCH_SCORE} or more, best first, belongs to the object whose '
            f'box it overlaps most, by an IoU of {MATCH_IOU} at least, of '
            'whatever class. Column background: objects that are missed; '
            'row background: detections where no object is.',
        ),
        _describe_worst(worst, images),
        _describe_even_ones(images, samples),
    ]


def _logged_kinds(history: History) -> list[str]:
    """Boxes, and masks if any were evaluated."""
    names = history.names()
    return [
        kind for kind in KINDS if kind == 'bbox' or f'coco/{kind}_mAP' in names
    ]


def _describe_metrics(
    images: ValidationImages, samples: Sequence[Sample], history: History
) -> Section:
    if any(name.startswith('coco/') for name in history.names()):
        overall = make_table(
            list(METRICS.values()),
            [
                (
                    KINDS[kind],
                    [history.shown(f'coco/{kind}_{name}') for name in METRICS],
                )
                for kind in _logged_kinds(history)
            ],
        )
    else:
        overall = list_metrics(history)
    return Section(
        'Metrics',
        'From the last evaluation, over all validation images and all '
        'detections. AP is the mean over IoU thresholds 0.50 to 0.95. Small '
        'objects cover less than 32 × 32 pixels, medium ones up to 96 × 96; '
        'n/a where there is nothing to measure. By class: over '
        f'{images.count}.',
        join_tables(overall, _tabulate_classes(images, samples)),
    )


def _tabulate_classes(
    images: ValidationImages, samples: Sequence[Sample]
) -> str:
    number = len(images.classes)
    objects = Counter(
        label
        for sample in samples
        for i, label in enumerate(sample.truth.labels)
        if i not in sample.truth.crowds
    )
    head = ['Objects']
    columns = [[f'{objects[i]:,}' for i in range(number)]]
    kinds: list[Literal['bbox', 'segm']] = ['bbox']
    if samples[0].prediction.masks is not None:
        kinds.append('segm')
    for kind in kinds:
        precision = evaluate_classes(samples, number, kind)
        head += [f'{KINDS[kind]} AP', f'{KINDS[kind]} AP50']
        for values in precision:
            columns.append([shown(value) for value in values.tolist()])
    rows = zip(*columns, strict=True)
    return make_table(head, list(zip(images.classes, rows, strict=True)))


def _describe_worst(
    worst: Sequence[Pair], images: ValidationImages
) -> Section:
    if not worst:
        return Section(
            'Worst images',
            f'None of {images.count} has an object that is missed or a '
            'detection that is wrong.',
            '',
        )
    return Section(
        'Worst images',
        f'Of {images.count}, those with the lowest F1: twice the right '
        'detections over all objects and detections, matched as above. '
        'Dashed: objects that are missed or taken for something else, and '
        'detections that are wrong. Detections that score less than '
        f'{MATCH_SCORE} are not drawn.',
        join_pairs(worst),
    )


def _describe_even_ones(
    images: ValidationImages, samples: Sequence[Sample]
) -> Section:
    chosen = choose_evenly(samples, PAIRS)
    pairs = [
        _draw_pair(
            images,
            sample,
            sample.truth,
            sample.prediction.above(SCORE_SHOWN),
            '',
        )
        for sample in chosen
    ]
    filled = 'Filled shape: mask; rectangle' if _has_masks(chosen) else 'Frame'
    number = counted(len(chosen), 'image')
    return Section(
        'Ground truth and prediction',
        f'{number} at even intervals through the validation split, not '
        f'chosen by result. {filled}: box; number: score. Detections that '
        f'score less than {SCORE_SHOWN} are not drawn.',
        make_legend(images.classes, images.palette) + join_pairs(pairs),
    )


def _has_masks(samples: Sequence[Sample]) -> bool:
    return any(sample.truth.masks is not None for sample in samples)


def _draw_mistakes(
    images: ValidationImages,
    sample: Sample,
    mistakes: tuple[set[int], set[int]],
    score: Score,
) -> Pair:
    missed, wrong = mistakes
    scores = sample.prediction.scores or []
    # The numbers that the detections have among those drawn.
    order = sorted(
        (i for i, value in enumerate(scores) if value >= MATCH_SCORE),
        key=lambda i: -scores[i],
    )
    return _draw_pair(
        images,
        sample,
        sample.truth,
        sample.prediction.select(order),
        f' · F1 {score.f1:.2f}, {counted(score.mistakes, "mistake")}',
        missed,
        {new for new, i in enumerate(order) if i in wrong},
    )


def _draw_pair(
    images: ValidationImages,
    sample: Sample,
    truth: Instances,
    found: Instances,
    note: str,
    missed: Collection[int] = (),
    wrong: Collection[int] = (),
) -> Pair:
    draw = partial(
        draw_instances,
        sample.path,
        sample.size,
        classes=images.classes,
        palette=images.palette,
    )
    name = sample.path.name
    return Pair(
        f'{name}{note}',
        (
            draw(truth, title=f'Ground truth of {name}', wrong=missed),
            counted(len(truth), 'object'),
        ),
        (
            draw(found, title=f'Prediction of {name}', wrong=wrong),
            counted(len(found), 'detection'),
        ),
    )
