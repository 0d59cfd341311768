# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What ``import ivit`` does to mmengine's loaders of checkpoints."""

import pytest
from mmengine.runner import checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from ivit.checkpoints import install_loaders, uninstall_loaders
from ivit.checkpoints.loaders import LOADERS

MMENGINE = {
    '': checkpoint.load_from_local,
    'http://': checkpoint.load_from_http,
    'https://': checkpoint.load_from_http,
}


@pytest.fixture(autouse=True)
def restored():
    yield
    for prefix, loader in LOADERS.items():
        CheckpointLoader.register_scheme(prefix, loader, force=True)


def current_loaders():
    return {prefix: CheckpointLoader._schemes[prefix] for prefix in LOADERS}


def test_installed_by_importing():
    assert current_loaders() == LOADERS


def test_uninstall_gives_back_what_was_there():
    others = CheckpointLoader._schemes.keys() - LOADERS.keys()
    before = {prefix: CheckpointLoader._schemes[prefix] for prefix in others}
    for _ in range(2):
        uninstall_loaders()
        assert current_loaders() == MMENGINE
    for _ in range(2):
        install_loaders()
        assert current_loaders() == LOADERS
    uninstall_loaders()
    assert current_loaders() == MMENGINE
    assert before.items() <= CheckpointLoader._schemes.items()


def test_what_a_broken_file_raises(tmp_path):
    path = tmp_path / 'page.pth'
    path.write_text('<html>')
    with pytest.raises(ValueError, match='it is a web page'):
        checkpoint.load_checkpoint(None, str(path))
    uninstall_loaders()
    with pytest.raises(Exception) as caught:  # noqa: PT011
        checkpoint.load_checkpoint(None, str(path))
    assert 'it is a web page' not in str(caught.value)


def test_a_later_loader_stays():
    def load(filename, map_location=None):
        return {}

    CheckpointLoader.register_scheme('', load, force=True)
    uninstall_loaders()
    assert current_loaders() == {**MMENGINE, '': load}
