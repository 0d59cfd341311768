# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Read configs once each, for all tests of them."""

from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.fixture(scope='session')
def load(tmp_path_factory):
    """A config by its name, read in a folder that is not the repository's."""
    folder = tmp_path_factory.mktemp('elsewhere')

    @cache
    def read(name):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            return Config.fromfile(str(CONFIGS / f'{name}.py'))

    def load(name):
        cfg = deepcopy(read(name))
        init_default_scope(cfg.default_scope)
        return cfg

    return load
