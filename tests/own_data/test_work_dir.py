# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import pytest

from ivit.engine import UsageError
from ivit.own_data.work_dir import choose_work_dir


@pytest.fixture
def trained(tmp_path):
    """Make a folder with a training in it."""

    def make(name):
        folder = tmp_path / name
        folder.mkdir()
        (folder / 'last_checkpoint').write_text('epoch_1.pth')
        return str(folder)

    return make


def test_the_default_gets_a_number_where_a_training_is(trained, tmp_path):
    folder = str(tmp_path / 'run')
    assert choose_work_dir(folder, False, False) == folder
    trained('run')
    assert choose_work_dir(folder, False, False) == f'{folder}_2'
    trained('run_2')
    assert choose_work_dir(folder, False, False) == f'{folder}_3'


def test_resume_goes_on_with_the_latest(trained, tmp_path):
    folder = str(tmp_path / 'run')
    assert choose_work_dir(folder, False, True) == folder
    trained('run')
    assert choose_work_dir(folder, False, True) == folder
    trained('run_2')
    assert choose_work_dir(folder, False, True) == f'{folder}_2'
    named = f'{folder}/epoch_1.pth'
    assert choose_work_dir(folder, False, named) == folder


def test_a_folder_that_was_asked_for_is_not_overwritten(trained):
    folder = trained('run')
    with pytest.raises(UsageError, match='run has a training already.*resum'):
        choose_work_dir(folder, True, False)
    assert choose_work_dir(folder, True, True) == folder
    named = f'{folder}/epoch_1.pth'
    assert choose_work_dir(folder, True, named) == folder
