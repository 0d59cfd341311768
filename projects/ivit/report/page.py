# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The page itself: HTML without scripts and without anything outside it."""

import base64
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

from .curves import draw_curves
from .facts import Facts
from .history import History
from .overlay import Color, draw_instances
from .samples import SCORE_SHOWN, Instances, Sample

TEMPLATE = Path(__file__).with_name('page.html')
METRICS = {
    'mAP': 'AP',
    'mAP_50': 'AP50',
    'mAP_75': 'AP75',
    'mAP_s': 'AP small',
    'mAP_m': 'AP medium',
}
KINDS = {'bbox': 'Box', 'segm': 'Mask'}


def build_page(
    history: History,
    samples: Sequence[Sample],
    facts: Facts,
    classes: Sequence[str],
    palette: Sequence[Color],
) -> str:
    """Put the page together.

    Args:
        history: Losses and metrics. An AP per class is taken for that of
            the boxes: mmdet's CocoMetric keeps one, that of the metric it is
            given last.
        samples: Images to show, ground truth beside prediction.
        facts: What else to tell, by heading and name.
        classes: The name of each class.
        palette: The colour of each class, RGB in 0..255.

    Returns:
        An HTML document.
    """
    return Template(TEMPLATE.read_text(encoding='utf-8')).substitute(
        headline=_headline(history),
        metrics=_metric_table(history),
        classes=_class_table(history, classes),
        curves=''.join(
            _curve(title, svg) for title, svg in draw_curves(history).items()
        ),
        number=len(samples),
        score=SCORE_SHOWN,
        legend=''.join(
            f'<li><span style="background:rgb{tuple(color)}"></span>'
            f'{escape(name)}</li>'
            for name, color in zip(classes, palette, strict=True)
        ),
        samples=''.join(_pair(sample, classes, palette) for sample in samples),
        facts=''.join(_fact_list(name, facts[name]) for name in facts),
    )


def write_page(page: str, path: Path) -> None:
    """Write a page so that the file is whole or as it was before."""
    part = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        part.write_text(page, encoding='utf-8')
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _headline(history: History) -> str:
    return ''.join(
        f'<div><dt>{KINDS[kind]} {METRICS[name]}</dt>'
        f'<dd>{history.shown(f"{kind}_{name}")}</dd></div>'
        for name in ('mAP_50', 'mAP')
        for kind in KINDS
    )


def _metric_table(history: History) -> str:
    rows = {
        KINDS[kind]: [history.shown(f'{kind}_{name}') for name in METRICS]
        for kind in KINDS
    }
    return _table(list(METRICS.values()), rows)


def _class_table(history: History, classes: Sequence[str]) -> str:
    values = [history.shown(f'{name}_precision') for name in classes]
    return _table(classes, {'Box AP': values})


def _table(head: Sequence[str], rows: dict[str, list[str]]) -> str:
    cells = ''.join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = ''.join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + ''.join(f'<td>{value}</td>' for value in values)
        + '</tr>'
        for name, values in rows.items()
    )
    return (
        f'<div class="scroll"><table><thead><tr><td></td>{cells}</tr></thead>'
        f'<tbody>{body}</tbody></table></div>'
    )


def _curve(title: str, svg: str) -> str:
    # As an image, so that the names inside two pictures cannot clash.
    data = base64.b64encode(svg.encode()).decode('ascii')
    title = escape(title)
    return (
        f'<figure><figcaption>{title}</figcaption><img alt="{title}" '
        f'src="data:image/svg+xml;base64,{data}"></figure>'
    )


def _pair(
    sample: Sample, classes: Sequence[str], palette: Sequence[Color]
) -> str:
    def side(name: str, what: str, instances: Instances) -> str:
        picture = draw_instances(
            sample.path,
            instances,
            classes,
            palette,
            f'{name} of {sample.path.name}',
        )
        number = len(instances.labels)
        what = what if number == 1 else f'{what}s'
        return (
            f'<figure><figcaption><b>{name}</b> {number} {what}</figcaption>'
            f'{picture}</figure>'
        )

    return (
        f'<article class="pair"><h3>{escape(sample.path.name)}</h3>'
        f'{side("Ground truth", "object", sample.truth)}'
        f'{side("Prediction", "detection", sample.prediction)}</article>'
    )


def _fact_list(heading: str, facts: dict[str, str]) -> str:
    entries = ''.join(
        f'<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>'
        for name, value in facts.items()
    )
    return f'<section><h3>{escape(heading)}</h3><dl>{entries}</dl></section>'
