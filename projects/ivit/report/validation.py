# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""One pass of the trained model over the validation images."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import EMAHook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.runner.amp import autocast
from torch.utils.data import DataLoader, Subset

from ..palette import make_palette
from .overlay import Color

#: More validation images than this are sampled at even intervals.
MOST_IMAGES = 5000


class ValidationImages:
    """The validation images of a run, and what the model makes of them.

    Args:
        runner: A runner that has been trained.

    Attributes:
        dataset: The data set.
        indices: Those of the images that are looked at.
        classes: The name of each class.
        palette: The colour of each class, RGB in 0..255.
        sizes: Widths and heights that the model was given, as far as
            :meth:`predict` has come.

    Raises:
        ValueError: If the run has no validation images or no classes.
    """

    def __init__(self, runner: Runner) -> None:
        if runner.val_loop is None:
            raise ValueError(
                'a report is about validation images, and the config has no '
                'val_dataloader; add one, with val_evaluator and val_cfg'
            )
        self._runner = runner
        self._loader = runner.val_dataloader
        self.dataset = self._loader.dataset
        total = len(self.dataset)
        self.indices = spread(total, min(total, MOST_IMAGES))
        classes = self.dataset.metainfo.get('classes')
        if not self.indices or not classes:
            raise ValueError(
                f'{type(self.dataset).__name__} for validation has {total} '
                f'images and the classes {classes!r}; a report needs some of '
                "both: name the classes in the data set's metainfo"
            )
        self.classes = [str(name) for name in classes]
        self.palette = choose_palette(
            self.dataset.metainfo.get('palette'), len(classes)
        )
        self.sizes: set[tuple[int, int]] = set()

    def predict(self) -> Iterator[Any]:
        """What the model returns for each image, in the order of indices."""
        loader = DataLoader(
            # Not the runner's own loader: of several processes each has a
            # part of the images, and only one writes a report.
            Subset(self.dataset, self.indices),
            batch_size=self._loader.batch_size,
            num_workers=self._loader.num_workers,
            collate_fn=self._loader.collate_fn,
        )
        fp16 = getattr(self._runner.val_loop, 'fp16', False)
        with _as_in_evaluation(self._runner) as model:
            for batch in loader:
                with torch.no_grad(), autocast(enabled=fp16):
                    outputs = model.val_step(batch)
                for output in outputs:
                    height, width = output.metainfo['img_shape'][:2]
                    self.sizes.add((width, height))
                    yield output

    @property
    def count(self) -> str:
        """How many images are looked at, in words."""
        number, total = len(self.indices), len(self.dataset)
        if number == total:
            return f'all {total:,} validation images'
        return f'{number:,} of {total:,} validation images, at even intervals'


def spread(total: int, number: int) -> list[int]:
    """At most ``number`` of the indices up to ``total``, evenly spaced."""
    number = min(number, total)
    return [i * total // number for i in range(number)]


def choose_palette(given: Any, number: int) -> list[Color]:
    """The colours of a data set, or others if it has not as many."""
    if isinstance(given, (list, tuple)) and len(given) >= number:
        return [(int(r), int(g), int(b)) for r, g, b in given[:number]]
    return make_palette(number)


def image_path(output: Any) -> Path:
    """The file that a prediction is about.

    Raises:
        ValueError: If the pipeline does not keep it.
    """
    path = output.metainfo.get('img_path')
    if not path:
        raise ValueError(
            f'{type(output).__name__} without img_path: add it to meta_keys '
            "of the last step of the validation images' pipeline"
        )
    return Path(path)


def unwrap(model: Any) -> Any:
    """The model itself, in a distributed run too."""
    while is_model_wrapper(model):
        model = model.module
    return model


@contextmanager
def _as_in_evaluation(runner: Runner) -> Iterator[Any]:
    """The model in the state that mmengine evaluates it in."""
    model = unwrap(runner.model)
    averages = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
    was_training = model.training
    for hook in averages:
        hook.before_val_epoch(runner)
    model.eval()
    try:
        yield model
    finally:
        model.train(was_training)
        for hook in averages:
            hook.after_val_epoch(runner)
