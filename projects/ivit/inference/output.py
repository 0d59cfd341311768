# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The folder that the command line writes predictions to.

::

    pictures/          every image with its prediction drawn on it
    NAME.mp4           instead, of a video
    images.json        the images, with ids and sizes, and the classes
    predictions.json   of a detector: COCO's results
    labels/            of a segmentor: the class of each pixel, grey PNG
    predictions.csv    of a classifier: the class of each image
"""

import csv
import json
from pathlib import Path, PurePosixPath
from typing import Any

from ..annotations.files import IMAGE_SUFFIXES
from ..engine import UsageError
from .model import Model
from .results import Classification, Detections, LabelMap, Result, save_picture
from .video import Video, VideoWriter

PICTURES, LABELS = 'pictures', 'labels'
IMAGES_FILE = 'images.json'
RESULTS_FILE = 'predictions.json'
TABLE_FILE = 'predictions.csv'


def check_is_new(folder: Path) -> None:
    """Check that a folder does not exist or is empty.

    Raises:
        UsageError: If there is something in it.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f'{folder} exists and is not overwritten: give a new or an empty '
            'folder with --out'
        )


class PredictionFolder:
    """Writes predictions to a new folder.

    Args:
        folder: The folder, which is made.
        model: The model that predicts.
        video: The video that the images are frames of, if they are.

    Attributes:
        folder: The folder.
        num_images: How many predictions have been written.
        num_objects: How many objects they have, of a detector.

    Raises:
        UsageError: If the folder has something in it.
    """

    def __init__(
        self, folder: Path, model: Model, video: Video | None = None
    ) -> None:
        check_is_new(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._model = model
        self._images: list[dict[str, Any]] = []
        self._results: list[dict[str, Any]] = []
        self._rows: list[tuple[str, int, str, float]] = []
        self._taken: set[Path] = set()
        self._video: VideoWriter | None = None
        if video is not None:
            path = folder / f'{video.path.stem}.mp4'
            self._video = VideoWriter(path, video.rate)

    @property
    def num_images(self) -> int:
        """How many predictions have been written."""
        return len(self._images)

    @property
    def num_objects(self) -> int:
        """How many objects they have, of a detector."""
        return len(self._results)

    def add(self, name: str, result: Result) -> None:
        """Write the picture of a prediction and note the rest.

        Args:
            name: The image's name in the tables, a path.
            result: The prediction.
        """
        number = len(self._images) + 1
        width, height = result.size
        image = dict(id=number, file_name=name, width=width, height=height)
        # Files first: where writing is interrupted, no table has the image.
        self._write_picture(name, result)
        if isinstance(result, LabelMap):
            path = self._new_path(LABELS, name, '.png')
            result.save_labels(path)
            image['labels'] = path.relative_to(self.folder).as_posix()
        elif isinstance(result, Detections):
            self._results += result.to_coco(number)
        elif isinstance(result, Classification):
            self._rows.append((name, result.label, result.name, result.score))
        self._images.append(image)

    def finish(self) -> None:
        """Write the tables. Nothing is added afterwards."""
        if self._video is not None:
            self._video.close()
        names = self._model.classes
        content: dict[str, Any] = dict(images=self._images)
        if self._model.task == 'detection':
            content['categories'] = [
                dict(id=i, name=name) for i, name in enumerate(names, 1)
            ]
            self._write_json(RESULTS_FILE, self._results)
        else:
            content['classes'] = list(names)
        self._write_json(IMAGES_FILE, content)
        if self._model.task == 'classification':
            path = self.folder / TABLE_FILE
            with path.open('x', newline='', encoding='utf-8') as file:
                writer = csv.writer(file)
                writer.writerow(('file_name', 'label', 'name', 'score'))
                writer.writerows(self._rows)

    def _write_json(self, name: str, content: Any) -> None:
        with (self.folder / name).open('x', encoding='utf-8') as file:
            json.dump(content, file)

    def _write_picture(self, name: str, result: Result) -> None:
        picture = result.draw()
        # Without an encoder frames become pictures, from the first one on.
        if self._video and not self._images and not self._video.open(picture):
            self._video = None
        if self._video:
            self._video.write(picture)
            return
        suffix = PurePosixPath(name).suffix
        if suffix.lower() not in IMAGE_SUFFIXES:
            suffix = '.jpg'
        save_picture(picture, self._new_path(PICTURES, name, suffix))

    def _new_path(self, kind: str, name: str, suffix: str) -> Path:
        """A path in the folder that has the image's, if that is relative."""
        given = Path(name)
        if given.is_absolute() or '..' in given.parts:
            given = Path(given.name)
        wanted = self.folder / kind / given.with_suffix(suffix)
        path, number = wanted, 1
        while path in self._taken:  # a.jpg beside a.png, or given twice
            number += 1
            path = wanted.with_stem(f'{wanted.stem}_{number}')
        self._taken.add(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
