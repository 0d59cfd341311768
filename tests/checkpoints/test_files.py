# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Files that are no checkpoints, or not whole."""

import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader, load_checkpoint
from torch import nn

from ivit.backbones import FLattenPVT
from ivit.engine import CheckpointCheck, check_checkpoint_path

STATE = {'weight': torch.rand(40, 30), 'bias': torch.rand(40)}


def whole(path):
    torch.save(STATE, path)


def of_old_torch(path):
    torch.save(STATE, path, _use_new_zipfile_serialization=False)


def halved(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def empty(path):
    path.write_bytes(b'')


def web_page(path):
    path.write_text('\n<!DOCTYPE html><html><body>Sign in</body></html>')


def text(path):
    path.write_text('weights of a model')


def broken_off(path):
    whole(path)
    halved(path)


def broken_off_of_old_torch(path):
    of_old_torch(path)
    halved(path)


def zip_of_something_else(path):
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('readme.txt', 'hello')


def without_tensors(path):
    torch.save(dict(epoch=3, meta=dict(seed=0)), path)


FAULTS = {
    empty: 'the file is empty',
    web_page: 'it is a web page',
    text: 'torch.save has not written it',
    broken_off: 'its end is missing',
    zip_of_something_else: 'it is a zip archive of something else',
    without_tensors: 'it has no tensors',
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'weights.pth'


@pytest.mark.parametrize('write', [whole, of_old_torch])
def test_checkpoints_pass_and_load(write, path):
    write(path)
    check_checkpoint_path(str(path))
    model = nn.Linear(30, 40)
    load_checkpoint(model, str(path), strict=True)
    assert torch.equal(model.weight, STATE['weight'])


@pytest.mark.parametrize(('write', 'fault'), FAULTS.items())
def test_the_tools_name_file_fault_and_remedy(write, fault, path):
    write(path)
    message = rf'{path} is not a checkpoint: {fault}\. Download or copy it'
    with pytest.raises(ValueError, match=message):
        check_checkpoint_path(str(path))


@pytest.mark.parametrize('write', [*FAULTS, broken_off_of_old_torch])
@pytest.mark.parametrize('by_init_cfg', [True, False])
def test_loading_names_them_too(write, by_init_cfg, path):
    write(path)
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    model = FLattenPVT('n', init_cfg=init_cfg if by_init_cfg else None)
    message = {
        without_tensors: 'The checkpoint has nothing for a backbone',
        broken_off_of_old_torch: f'{path} cannot be read as a checkpoint',
    }.get(write, f'{path} is not a checkpoint: {FAULTS.get(write)}')
    with pytest.raises(ValueError, match=message):
        if by_init_cfg:
            model.init_weights()
        else:
            load_checkpoint(model, str(path))


def test_the_home_folder_is_understood(path, monkeypatch):
    whole(path)
    monkeypatch.setenv('HOME', str(path.parent))
    check_checkpoint_path('~/weights.pth')
    with pytest.raises(ValueError, match='checkpoint not found'):
        check_checkpoint_path('~/other.pth')
    check_checkpoint_path('https://example.org/other.pth')


def test_errors_of_whole_files_stay_as_they_are(path):
    torch.save(STATE, path)
    with pytest.raises(RuntimeError, match='nowhere'):
        load_checkpoint(nn.Linear(30, 40), str(path), map_location='nowhere')
    with pytest.raises(FileNotFoundError):
        load_checkpoint(nn.Linear(30, 40), str(path) + 'x')


class Loop:
    """What a runner has built of a training."""


@pytest.mark.parametrize('nested', [True, False])
def test_files_of_init_cfg_are_looked_at_before_training(
    nested, path, monkeypatch
):
    monkeypatch.setattr('ivit.engine.checkpoint_check.BaseLoop', Loop)
    pretrained = dict(type='Pretrained', checkpoint=str(path))
    backbone = dict(type='FLattenPVT', init_cfg=pretrained)
    if nested:
        backbone['init_cfg'] = [dict(type='Kaiming'), pretrained]
    cfg = Config(dict(model=dict(type='MaskRCNN', backbone=backbone)))
    training = SimpleNamespace(cfg=cfg, _train_loop=Loop())
    check = CheckpointCheck(whole_model=False)
    with pytest.raises(ValueError, match=f'checkpoint not found: {path}'):
        check.before_run(training)
    web_page(path)
    with pytest.raises(ValueError, match=f'{path} is not a checkpoint'):
        check.before_run(training)
    # A test does not load it.
    check.before_run(SimpleNamespace(cfg=cfg, _train_loop=dict()))
    whole(path)
    check.before_run(training)


def test_numbers_of_numpy_are_no_code(path, capfd):
    """mmengine keeps an mIoU as float32 in every checkpoint."""
    whole_state = dict(state_dict=STATE, metric=np.float32(0.5))
    torch.save({**whole_state, 'counts': np.arange(3, dtype='u2')}, path)
    content = CheckpointLoader.load_checkpoint(str(path), logger='silent')
    assert content['metric'] == np.float32(0.5)
    assert 'Could not safely load' not in capfd.readouterr().out
