# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Runs with random weights, and images."""

from pathlib import Path

import pytest
from PIL import Image
from random_runs import CLASSIFIER, DETECTOR, SEGMENTORS, write_run
from skimage import data

import ivit


@pytest.fixture(scope='session')
def work_dirs(tmp_path_factory):
    """Work dirs by the names of configs, not to be changed."""
    root = tmp_path_factory.mktemp('runs')
    names = (DETECTOR, *SEGMENTORS, CLASSIFIER)
    return {name: write_run(root / name, name) for name in names}


@pytest.fixture(scope='session')
def models(work_dirs):
    """Loaded models by the names of configs."""
    return {
        name: ivit.load(folder, device='cpu')
        for name, folder in work_dirs.items()
    }


@pytest.fixture(scope='session')
def images(tmp_path_factory) -> Path:
    """A folder of images, two of one size and one of another."""
    folder = tmp_path_factory.mktemp('images')
    photo = data.astronaut()
    Image.fromarray(photo[:90, 180:300]).save(folder / 'a.png')
    Image.fromarray(photo[60:150, 180:300]).save(folder / 'b.jpg')
    (folder / 'more').mkdir()
    Image.fromarray(photo[:130, 150:250]).save(folder / 'more' / 'a.jpg')
    return folder
