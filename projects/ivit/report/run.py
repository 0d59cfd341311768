# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The report of a run of any task."""

from html import escape
from importlib import import_module
from pathlib import Path
from types import ModuleType

from mmengine.runner import Runner

from ..engine.stopwatch import Stopwatch
from .facts import collect_facts, name_model
from .history import History
from .page import Page, write_page
from .validation import ValidationImages, unwrap

# The module about the models that a framework brings.
TASKS = {
    'mmdet': 'detection',
    'mmseg': 'segmentation',
    'mmpretrain': 'classification',
}


def write_report(
    runner: Runner, path: str | Path, stopwatch: Stopwatch | None = None
) -> History:
    """Write a page about a training that is over.

    The model looks at the validation images once more, in this process.

    Args:
        runner: A runner whose ``train()`` has been called. The model is a
            detector of mmdet, a segmentor of mmseg or a classifier of
            mmpretrain.
        path: The file, in a folder that exists; replaced if it is there.
        stopwatch: A hook of the runner, for the times on the page.

    Returns:
        Losses and metrics of the run.

    Raises:
        ValueError: If there is no report for such a model, or it has no
            validation images with annotations.
    """
    page, history = make_page(runner, stopwatch)
    write_page(page.html(), path)
    return history


def make_page(
    runner: Runner, stopwatch: Stopwatch | None = None
) -> tuple[Page, History]:
    """What :func:`write_report` writes, and the history that it shows."""
    task = find_task(runner)
    history = History.of_runner(runner)
    images = ValidationImages(runner)
    sections = task.make_sections(images, history)
    name = name_model(runner)
    if runner.cfg.filename:
        name += f' ({Path(runner.cfg.filename).stem})'
    page = Page(
        title=name,
        introduction=f'<p>How {escape(name)} does on {escape(images.count)} '
        'after training.</p>',
        headline=task.headline(history),
        sections=sections,
        facts=collect_facts(runner, images, stopwatch),
    )
    return page, history


def find_task(runner: Runner) -> ModuleType:
    """The module of this package that is about a runner's model.

    Raises:
        ValueError: If the model is of none of the frameworks.
    """
    model = type(unwrap(runner.model))
    for cls in model.__mro__:
        framework = cls.__module__.partition('.')[0]
        if framework in TASKS:
            return import_module(f'.{TASKS[framework]}', __package__)
    raise ValueError(
        f'there is no report about {model.__name__}: it is a model of none '
        f'of {", ".join(TASKS)}'
    )
