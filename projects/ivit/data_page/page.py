# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""A page to look at data before it is trained on."""

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
from matplotlib import rc_context

from .. import __version__
from ..annotations.faults import Faults
from ..annotations.records import AnnotatedData
from ..annotations.statistics import SplitStatistics, collect_statistics
from ..report.curves import PARTS, STYLE, make_document
from ..report.markup import (
    Section,
    join_tables,
    make_figure,
    make_legend,
    make_table,
)
from ..report.page import Page
from .pictures import draw_pictures

NUM_PICTURES = 24
NUM_BINS = 30
FIGURE_SIZE = (4.8, 3.3)  # inches


def make_data_page(data: AnnotatedData) -> str:
    """Make a page of faults, counts, sizes and pictures.

    Args:
        data: Annotated images, after they were checked.

    Returns:
        An HTML document without scripts and without anything outside it.
    """
    statistics = collect_statistics(data)
    palette = data.colors
    pictures = draw_pictures(data, palette, NUM_PICTURES)
    headline = {
        f'images, {name}': f'{split.num_images:,}'
        for name, split in statistics.items()
    }
    if data.task == 'detection':
        headline |= {
            f'objects, {name}': f'{split.num_objects:,}'
            for name, split in statistics.items()
        }
    headline['classes'] = f'{len(data.classes):,}'
    headline['errors'] = f'{len(data.faults.errors):,}'
    headline['warnings'] = f'{len(data.faults.warnings):,}'
    sections = [
        Section('Faults', _introduce(data.faults), list_faults(data.faults)),
        Section('Classes', _explain_counts(statistics), _list(statistics)),
        Section('Sizes', '', _draw_sizes(statistics)),
        Section(
            'Pictures',
            f'{len(pictures)} images, chosen by chance, as training sees '
            'them with the default loader. See that boxes, masks and names '
            'are where they belong.',
            make_legend(data.classes, palette)
            + '<div class="singles">'
            + ''.join(picture.html() for picture in pictures)
            + '</div>',
        ),
    ]
    notes = ''.join(f'<li>{escape(note)}</li>' for note in data.notes)
    facts = {
        'Data': {
            'Layout': data.layout,
            'Task': data.task,
            'Masks': 'yes' if data.has_masks else 'no',
        },
        'Versions': {'ivit': __version__},
        'Folder': {'': str(data.root.absolute())},
    }
    if data.task != 'detection':
        del facts['Data']['Masks']
    introduction = (
        f'<p>{escape(data.layout)}, read for {escape(data.task)}.</p>'
        + (f'<ul class="notes">{notes}</ul>' if notes else '')
    )
    title = f'Data: {data.root.absolute().name}'
    return Page(title, introduction, headline, sections, facts).html()


def list_faults(faults: Faults) -> str:
    """A table of faults, errors first; nothing if there are none."""
    if not len(faults):
        return ''
    rows = ''.join(
        f'<tr class="{fault.kind.level}"><th scope="row">{fault.kind.level}'
        f'</th><td>{escape(fault.kind.text)}</td><td>{fault.count:,}</td>'
        f'<td>{escape(fault.first)}</td><td>{escape(fault.kind.remedy)}</td>'
        '</tr>'
        for fault in faults
    )
    head = ''.join(
        f'<th scope="col">{name}</th>'
        for name in ('level', 'what', 'times', 'first place', 'remedy')
    )
    return (
        '<div class="tables faults"><div class="scroll"><table><thead><tr>'
        f'{head}</tr></thead><tbody>{rows}</tbody></table></div></div>'
    )


def _introduce(faults: Faults) -> str:
    if faults.errors:
        return 'Training does not start before the errors are put right.'
    if faults.warnings:
        return 'Nothing that training would have to stop at.'
    return 'None were found.'


def _explain_counts(statistics: Mapping[str, SplitStatistics]) -> str:
    sampled = [
        f'{split.num_read:,} of {split.num_images:,} label maps of {name}'
        for name, split in statistics.items()
        if split.num_read < split.num_images
    ]
    if not sampled:
        return ''
    return f'Counted in a sample: {", ".join(sampled)}.'


def _list(statistics: Mapping[str, SplitStatistics]) -> str:
    """Tables of what each class has, and of objects by size."""
    columns: dict[str, dict[str, str]] = {}
    for name, split in statistics.items():
        columns[f'images, {name}'] = _as_texts(split.images_with, ',d')
        if split.objects is not None:
            columns[f'objects, {name}'] = _as_texts(split.objects, ',d')
        if split.pixels is not None:
            columns[f'pixels, {name}'] = _as_texts(split.pixels, '.2%')
    classes = list(next(iter(columns.values()), {}))
    tables = [
        make_table(
            list(columns),
            [
                (label, [column[label] for column in columns.values()])
                for label in classes
            ],
        )
    ]
    by_size = {
        name: split.coco_sizes
        for name, split in statistics.items()
        if split.coco_sizes
    }
    if by_size:
        kinds = list(next(iter(by_size.values())))
        tables.append(
            make_table(
                [f'{kind} objects' for kind in kinds],
                [
                    (name, [f'{sizes[kind]:,}' for kind in kinds])
                    for name, sizes in by_size.items()
                ],
            )
        )
    return join_tables(*tables)


def _as_texts(numbers: Mapping[str, Any], form: str) -> dict[str, str]:
    return {name: format(number, form) for name, number in numbers.items()}


def _draw_sizes(statistics: Mapping[str, SplitStatistics]) -> str:
    figures = []
    objects = {
        name: split.object_sizes
        for name, split in statistics.items()
        if len(split.object_sizes)
    }
    if objects:
        figures.append(
            _draw_histogram(
                'Objects, side relative to the image',
                'square root of the share of the area',
                objects,
            )
        )
    images = {
        name: split.image_sizes
        for name, split in statistics.items()
        if len(split.image_sizes)
    }
    if images:
        for title, pick in (
            ('Images, longer side', lambda sizes: sizes.max(1)),
            ('Images, shorter side', lambda sizes: sizes.min(1)),
        ):
            values = {name: pick(sizes) for name, sizes in images.items()}
            figures.append(_draw_histogram(title, 'pixels', values))
    return f'<div class="curves">{"".join(figures)}</div>'


def _draw_histogram(
    title: str, unit: str, values: Mapping[str, np.ndarray]
) -> str:
    joint = np.concatenate(list(values.values()))
    # From 0, so that data of one size has an axis, too.
    bins = np.linspace(0, joint.max(), NUM_BINS + 1).tolist()
    with rc_context(STYLE), make_document(FIGURE_SIZE) as (axes, document):
        axes.set(xlabel=unit, ylabel='share')
        for i, (name, numbers) in enumerate(values.items()):
            axes.hist(
                numbers,
                bins,
                weights=np.full(len(numbers), 1 / len(numbers)),
                label=name,
                color=PARTS[i % len(PARTS)],
                histtype='step',
                linewidth=1.8,
            )
        if len(values) > 1:
            axes.legend()
    return make_figure(title, document.getvalue())
