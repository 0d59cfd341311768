# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""A trained model that takes images and returns results."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple, cast, overload

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import TRANSFORMS, DefaultScope
from PIL import Image

from ..annotations import Task
from ..engine import UsageError
from ..nested import class_name, innermost_datasets
from ..own_data.fit import task_of
from .convert import CONVERTERS
from .images import ImageError, ImageLike, ImageReader
from .results import Color, Picture, Result

LOADER = 'LoadImageFromFile'


class Prepared(NamedTuple):
    """An image as the model takes it.

    Attributes:
        inputs: ``(C, h, w)``, not normalized.
        sample: The framework's data sample, with sizes.
        picture: The image itself.
    """

    inputs: torch.Tensor
    sample: Any
    picture: Picture

    @property
    def shapes(self) -> tuple:
        """What images that are run together have in common."""
        return *self.inputs.shape, *self.picture.size


class Model:
    """A trained detector, segmentor or classifier.

    :func:`ivit.load` makes one.

    Args:
        module: The framework's model, in evaluation mode on its device.
        config: The config that it was built from.
        classes: Names of the classes, in the order of their indices.
        palette: A colour for each class, RGB in 0..255.
        checkpoint: Path or address of its weights.

    Attributes:
        module: See above.
        config: See above.
        classes: See above.
        palette: See above.
        checkpoint: See above.
        task: ``'detection'``, ``'segmentation'`` or ``'classification'``.

    Raises:
        UsageError: If the config has no pipeline that reads images.
    """

    def __init__(
        self,
        module: BaseModel,
        config: Config,
        classes: tuple[str, ...],
        palette: tuple[Color, ...],
        checkpoint: str | None,
    ) -> None:
        self.module = module
        self.config = config
        self.classes = classes
        self.palette = palette
        self.checkpoint = checkpoint
        self.task = cast(Task, task_of(config))
        self._scope = config.default_scope
        self._before, self._reader, self._after = _build_steps(config)

    @overload
    def predict(
        self, image: ImageLike, score: float = ..., batch_size: int = ...
    ) -> Result: ...
    @overload
    def predict(
        self,
        image: list[Any] | tuple[Any, ...],
        score: float = ...,
        batch_size: int = ...,
    ) -> list[Result]: ...
    def predict(
        self,
        image: ImageLike | list[Any] | tuple[Any, ...],
        score: float = 0.3,
        batch_size: int = 1,
    ) -> Result | list[Result]:
        """Predict an image, or a list of images.

        Args:
            image: A path, an image of Pillow, an array ``(H, W, 3)`` of RGB
                in Pillow's order of channels (what OpenCV reads is BGR:
                ``image[..., ::-1]``), or an array ``(H, W)`` of grey; or a
                list or tuple of these. Arrays are uint8, or uint16, which is
                divided by 256.
            score: The least score of an object that is returned, in 0..1.
                The config's ``test_cfg`` keeps others back before, mostly
                those below 0.05. Segmentors and classifiers do not use it.
            batch_size: How many images of a list go through the model at
                once. It changes no result but by rounding: images of
                different sizes do not share a batch.

        Returns:
            :class:`Detections`, :class:`LabelMap` or
            :class:`Classification`; for a list, a list of them.

        Raises:
            ImageError: If an image cannot be read, or the model's pipeline
                cannot take it.
            ValueError: If an argument is out of range.
        """
        named: Iterable[tuple[str, ImageLike]]
        if isinstance(image, (list, tuple)):
            named = _number(image)
        else:
            named = [('the image', image)]
        results = []
        for result in self._predict_named(named, score, batch_size):
            if isinstance(result, ImageError):
                raise result
            results.append(result)
        return results if isinstance(image, (list, tuple)) else results[0]

    def predict_each(
        self,
        images: Iterable[ImageLike],
        score: float = 0.3,
        batch_size: int = 1,
    ) -> Iterator[Result | ImageError]:
        """Predict images one after another, as many as there are.

        Args:
            images: Images as :meth:`predict` takes them; they are read when
                it is their turn.
            score: See :meth:`predict`.
            batch_size: See :meth:`predict`.

        Yields:
            The result of each image, in their order; for one that cannot be
            read, the error.

        Raises:
            ValueError: If an argument is out of range.
            TypeError: If ``images`` is a single image.
        """
        if isinstance(images, (str, Path, Image.Image, np.ndarray)):
            raise TypeError(
                f'images is one {type(images).__name__}, and predict_each '
                'takes several; call predict, or give [image]'
            )
        return self._predict_named(_number(images), score, batch_size)

    def _predict_named(
        self,
        named: Iterable[tuple[str, ImageLike]],
        score: float,
        batch_size: int,
    ) -> Iterator[Result | ImageError]:
        """Predict images, with names for errors about those in memory."""
        if not 0 <= score <= 1:
            raise UsageError(f'score={score!r} has to be in 0..1')
        if batch_size < 1:
            raise UsageError(f'batch_size={batch_size!r} has to be at least 1')
        remaining = iter(named)
        while batch := list(islice(remaining, batch_size)):
            prepared = [self._prepare(image, name) for name, image in batch]
            yield from self._run(prepared, score)

    def _prepare(self, image: ImageLike, name: str) -> Prepared | ImageError:
        """Read an image and send it through the test pipeline."""
        path = Path(image) if isinstance(image, (str, Path)) else None
        name = str(path) if path else name
        try:
            pixels = self._reader.read(image, name)
            with DefaultScope.overwrite_default_scope(self._scope):
                packed = self._transform(pixels, path, name)
        except ImageError as error:
            return error
        read = _keep(pixels) if path is None else self._read_later(path)
        height, width = pixels.shape[:2]
        picture = Picture(
            read, (width, height), path, self.classes, self.palette
        )
        return Prepared(packed['inputs'], packed['data_samples'], picture)

    def _transform(
        self, pixels: np.ndarray, path: Path | None, name: str
    ) -> dict[str, Any]:
        """The steps of the pipeline around the one that reads."""
        size = pixels.shape[:2]
        results: Any = dict(img_path=path and str(path), img_id=0)
        loaded = dict(img=pixels, img_shape=size, ori_shape=size)
        steps = [*self._before, lambda given: given | loaded, *self._after]
        for step in steps:
            try:
                results = step(results)
            except Exception as error:  # of OpenCV, torch, a framework
                raise ImageError(
                    f'{name}, {size[1]} x {size[0]} pixels: '
                    f'{type(step).__name__} of the test pipeline fails '
                    f'({" ".join(str(error).split())}). Give an image of '
                    'another shape, or change the pipeline'
                ) from error
        return results

    def _read_later(self, path: Path) -> Callable[[], np.ndarray]:
        """Read a file again when it is drawn on; its folder may change."""
        absolute = path.absolute()
        return lambda: _to_rgb(self._reader.read(absolute, str(absolute)))

    def _run(
        self, batch: Sequence[Prepared | ImageError], score: float
    ) -> Iterator[Result | ImageError]:
        """Run a batch, images of one size together."""
        for _, group in groupby(batch, _shapes):
            members = list(group)
            yield from (one for one in members if isinstance(one, ImageError))
            images = [one for one in members if isinstance(one, Prepared)]
            if not images:
                continue
            data = dict(
                inputs=[one.inputs for one in images],
                data_samples=[one.sample for one in images],
            )
            scope = DefaultScope.overwrite_default_scope(self._scope)
            with scope, torch.no_grad():
                outputs = self.module.test_step(data)
            convert = CONVERTERS[self.task]
            for one, output in zip(images, outputs, strict=True):
                yield convert(output, one.picture, score)


def _number(images: Iterable[ImageLike]) -> Iterator[tuple[str, ImageLike]]:
    """Names by which images are found in a list."""
    return ((f'image {i}', image) for i, image in enumerate(images))


def _shapes(one: Prepared | ImageError) -> tuple:
    return () if isinstance(one, ImageError) else one.shapes


def _keep(pixels: np.ndarray) -> Callable[[], np.ndarray]:
    rgb = _to_rgb(pixels)
    return lambda: rgb


def _to_rgb(bgr: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(bgr[..., ::-1].astype(np.uint8))


def _build_steps(
    config: Config,
) -> tuple[list[Callable], ImageReader, list[Callable]]:
    """The test pipeline: what comes before reading, reading, and the rest.

    Steps that load annotations are left out.

    Raises:
        UsageError: If no step reads image files.
    """
    loader = config.get('test_dataloader') or {}
    first = next(innermost_datasets(loader.get('dataset') or {}))
    steps = first.get('pipeline') or []
    names = [class_name(step) for step in steps]
    if LOADER not in names:
        raise UsageError(
            f'the pipeline of test_dataloader has the steps {names}, of which '
            f'none is {LOADER}; predictions need one to replace'
        )
    place = names.index(LOADER)
    reader = ImageReader(steps[place])
    with DefaultScope.overwrite_default_scope(config.default_scope):
        built = [
            None if is_left_out else TRANSFORMS.build(step)
            for step, is_left_out in zip(
                steps, map(_is_left_out, names), strict=True
            )
        ]
    before = [step for step in built[:place] if step]
    after = [step for step in built[place:] if step]
    return before, reader, after


def _is_left_out(name: str) -> bool:
    """Whether a step reads what an image for prediction does not have."""
    return name == LOADER or name.startswith('Load') and 'Annotation' in name
