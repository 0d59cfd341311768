# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import pytest
from mmengine.config import Config
from write_layouts import WRITERS, draw_scenes

from ivit.annotations.recognise import read_folder
from ivit.engine import find_config


@pytest.fixture(scope='session')
def scenes():
    return draw_scenes()


@pytest.fixture
def read(tmp_path, scenes):
    """The data of a layout, and the folder that it is in."""

    def write_and_read(layout):
        root = tmp_path / 'meine Daten'
        WRITERS[layout](root, scenes)
        return read_folder(root)

    return write_and_read


@pytest.fixture
def config(tmp_path):
    """A config that comes with ivit, with a work dir."""

    def load(name):
        cfg = Config.fromfile(find_config(name))
        cfg.work_dir = str(tmp_path / 'work')
        return cfg

    return load
