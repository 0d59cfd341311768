# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import pytest
from write_layouts import draw_scenes


@pytest.fixture(scope='session')
def scenes():
    return draw_scenes()


@pytest.fixture
def root(tmp_path):
    """A folder for data, with a blank and an umlaut in its path."""
    return tmp_path / 'Meine Bilder' / 'Übung 1'
