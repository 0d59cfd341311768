# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What a file of safetensors says of itself, and when it lies."""

import json
from collections import OrderedDict

import pytest
import torch
from mmengine.runner import CheckpointLoader
from safetensors import safe_open
from safetensors.torch import save, save_file

from ivit.checkpoints import check_checkpoint_file, tensor_files

STATE = {'backbone.a': torch.rand(3, 2), 'head.b': torch.arange(4)}
META = dict(
    cfg="model = dict(type='A')\n# é",
    dataset_meta=dict(
        classes=('a', 'b'),
        label_map={0: 1, 255: 0, (1, (2, 3)): None, 'x': 0.5},
    ),
    epoch=3,
    best=float('inf'),
)
AS_LISTS = META | dict(
    dataset_meta=META['dataset_meta'] | dict(classes=['a', 'b'])
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'mine.safetensors'


def load(path):
    return CheckpointLoader.load_checkpoint(str(path), 'cpu', 'silent')


def with_header(header, data=b''):
    """A file with that header, of its true length."""
    return len(header).to_bytes(8, 'little') + header + data


def test_what_is_written_is_read(path):
    weights = OrderedDict(STATE)
    weights._metadata = OrderedDict({'': dict(version=1), 'head': {}})
    path.write_bytes(tensor_files.serialize(weights, META))
    check_checkpoint_file(path)
    content = load(path)
    assert content['meta'] == AS_LISTS
    assert content['state_dict'].keys() == STATE.keys()
    assert all(torch.equal(content['state_dict'][n], STATE[n]) for n in STATE)
    assert content['state_dict']._metadata == weights._metadata


def test_other_programs_can_read_it(path):
    path.write_bytes(tensor_files.serialize(STATE, META))
    with safe_open(path, 'pt') as file:
        assert set(file.keys()) == set(STATE)
        (entry,) = file.metadata().values()
    meta = json.loads(entry)['meta']
    assert meta['cfg'] == META['cfg']
    assert meta['dataset_meta']['classes'] == ['a', 'b']


@pytest.mark.parametrize('metadata', [None, dict(format='pt', meta='no json')])
def test_files_of_other_programs(path, metadata):
    save_file(STATE, path, metadata)
    check_checkpoint_file(path)
    assert load(path).keys() == STATE.keys()


@pytest.mark.parametrize(
    'entry',
    [
        '',
        'no json',
        '3',
        '[]',
        'null',
        '{}',
        '{"meta": {}}',
        '{"meta": [], "versions": {}}',
        '{"meta": {}, "versions": []}',
        '{"meta": {}, "versions": {"head": 2}}',
        '{"meta": {"__pairs__": 3}, "versions": {}}',
        '{"meta": {"__pairs__": [[{}, 1]]}, "versions": {}}',
        '{"meta": {"__pairs__": [[1]]}, "versions": {}}',
        pytest.param('[' * 10**5, id='deep'),
    ],
)
def test_an_entry_that_is_not_ivits(path, entry):
    path.write_bytes(save(STATE, {'ivit': entry}))
    words = "mine.safetensors is not a checkpoint: 'ivit' in its header is not"
    with pytest.raises(ValueError, match=words):
        check_checkpoint_file(path)
    with pytest.raises(ValueError, match=words):
        load(path)


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'', 'the file is empty'),
        (b'\n<!DOCTYPE html><html>', 'it is a web page'),
        (b'PK\x03\x04 an archive', 'safetensors has not written it'),
        (b'\x10\0\0', r'it has 3 bytes, and its header .* 24'),
        (b'\0' * 8, r'do not go together'),
        (with_header(b'{"a": {}}')[:-3], 'it has 14 bytes, and its .* 17'),
        (with_header(b'{"a": {}}'), r'do not go together \(.*JSON'),
        (with_header(b'{}'), 'it has no tensors'),
        (save(STATE)[:-1], r'do not go together \(.*not fully covered'),
        (save(STATE) + b'1', r'do not go together \(.*not fully covered'),
        (
            with_header(
                b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,9]}}',
                b'\0' * 9,
            ),
            r'do not go together \(.*invalid shape',
        ),
    ],
)
def test_broken_files(path, content, words):
    path.write_bytes(content)
    words = f'mine.safetensors is not a checkpoint: .*{words}'
    with pytest.raises(ValueError, match=words):
        check_checkpoint_file(path)
    with pytest.raises(ValueError, match=words):
        load(path)


def test_a_header_of_any_length(path):
    """Its first bytes may spell anything, such as the start of a page."""
    header = json.dumps(
        dict(a=dict(dtype='F32', shape=[1], data_offsets=[0, 4]))
    ).encode()
    for length in (0x213C, 0x3C20):  # '<!' and ' <'
        path.write_bytes(with_header(header.ljust(length), b'\0' * 4))
        check_checkpoint_file(path)
        assert torch.equal(load(path)['a'], torch.zeros(1))
