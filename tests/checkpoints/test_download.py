# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Weights from a server, whole and not."""

import hashlib
import io
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import load_checkpoint
from torch import nn

from ivit.backbones import FLattenPVT
from ivit.checkpoints import download, save_hashed
from ivit.engine import load_config

STATE = {'weight': torch.arange(1200.0).view(40, 30), 'bias': torch.ones(40)}
PAGE = b'\n<!DOCTYPE html><html><body>Sign in</body></html>'


def serialized(content, **kwargs):
    buffer = io.BytesIO()
    torch.save(content, buffer, **kwargs)
    return buffer.getvalue()


WHOLE = serialized(STATE)
OLD = serialized(STATE, _use_new_zipfile_serialization=False)


class Server(ThreadingHTTPServer):
    """Files by their path, each with the length that is announced."""

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.files, self.asked = {}, []
        self.url = f'http://127.0.0.1:{self.server_port}'

    def add(self, path, content, length=''):
        length = len(content) if length == '' else length
        self.files[path] = content, length
        return f'{self.url}{path}'


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path not in self.server.files:
            self.send_error(404)
            return
        content, length = self.server.files[self.path]
        self.send_response(200)
        if length is not None:
            self.send_header('Content-Length', str(length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Where torch.hub keeps files, empty."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr(torch.hub, '_hub_dir', None)
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    monkeypatch.setenv('LOCAL_RANK', '0')
    return tmp_path / 'hub' / 'checkpoints'


def load(url):
    model = nn.Linear(30, 40)
    load_checkpoint(model, url, strict=True)
    return torch.equal(model.weight, STATE['weight'])


def kept(cache):
    return sorted(path.name for path in cache.glob('**/*'))


@pytest.mark.parametrize('content', [WHOLE, OLD], ids=['zip', 'old'])
@pytest.mark.parametrize('length', ['', None], ids=['length', 'no length'])
def test_a_whole_file_is_downloaded_once(content, length, server, cache):
    url = server.add('/a/small.pth', content, length)
    assert load(url)
    assert kept(cache) == ['small.pth']
    server.files.clear()
    assert load(url)
    assert server.asked == ['/a/small.pth']


@pytest.mark.parametrize('name', ['small', 'small.safetensors'])
def test_a_published_file_is_checked_by_its_name(
    name, server, cache, tmp_path
):
    content = {'state_dict': STATE, 'meta': {'epoch': 3}}
    path = save_hashed(content, tmp_path / name)
    assert load(server.add(f'/{path.name}', path.read_bytes()))
    assert kept(cache) == [path.name]


def test_a_published_file_of_safetensors_that_was_changed(
    server, cache, tmp_path
):
    content = {'state_dict': STATE, 'meta': {'epoch': 3}}
    path = save_hashed(content, tmp_path / 'small.safetensors')
    changed = path.read_bytes()[:-1] + b'1'
    with pytest.raises(ValueError, match='its SHA-256 starts with'):
        load(server.add(f'/{path.name}', changed))
    assert kept(cache) == []


def test_numbers_that_are_no_hash(server):
    assert load(server.add('/small-20230804.pth', WHOLE))
    assert load(server.add('/swin-tiny.pth', WHOLE))


def test_queries_tell_files_apart(server, cache):
    assert load(server.add('/f/?id=1', WHOLE))
    with pytest.raises(ValueError, match=r'/f/\?id=2 was not downloaded'):
        load(f'{server.url}/f/?id=2')
    wanted = hashlib.sha256(f'{server.url}/f/?id=1'.encode()).hexdigest()[:8]
    assert kept(cache) == [f'{wanted}-f']


BAD = {
    'page': ('/small.pth', PAGE, '', 'it is a web page'),
    'empty': ('/small.pth', b'', '', 'the file is empty'),
    'text': ('/small.pth', b'hello', '', 'torch.save has not written it'),
    'short': (
        '/small.pth',
        WHOLE[:-100],
        len(WHOLE),
        f'{len(WHOLE) - 100} of {len(WHOLE)} bytes came',
    ),
    'short, old': (
        '/small.pth',
        OLD[:-100],
        len(OLD),
        f'{len(OLD) - 100} of {len(OLD)} bytes came',
    ),
    'short, no length': (
        '/small.pth',
        WHOLE[:-100],
        None,
        'its end is missing',
    ),
    'hash': (
        '/small-0a1b2c3d.pth',
        WHOLE,
        '',
        f'its SHA-256 starts with {hashlib.sha256(WHOLE).hexdigest()[:8]}, '
        'its name says 0a1b2c3d',
    ),
}


@pytest.mark.parametrize('case', BAD)
@pytest.mark.parametrize('by_init_cfg', [True, False])
def test_nothing_else_is_kept(case, by_init_cfg, server, cache):
    path, content, length, fault = BAD[case]
    url = server.add(path, content, length)
    init_cfg = dict(type='Pretrained', checkpoint=url)
    model = FLattenPVT('n', init_cfg=init_cfg if by_init_cfg else None)
    message = re.escape(f'{url} was not downloaded: {fault}. Nothing was kept')
    with pytest.raises(ValueError, match=message) as caught:
        if by_init_cfg:
            model.init_weights()
        else:
            load_checkpoint(model, url)
    assert '\n' not in str(caught.value)
    assert kept(cache) == []
    if case != 'hash':  # the next try downloads again
        assert load(server.add(path, WHOLE))


@pytest.mark.parametrize('name', ['retinanet_ivit', 'mask_rcnn_flatten_pvt'])
def test_the_backbone_of_a_detector_from_an_address(name, server):
    config = Path(__file__).parents[2] / f'configs/{name}_n_shapes.py'
    init_default_scope('mmdet')
    source = MODELS.build(Config.fromfile(config).model).backbone
    for parameter in source.parameters():
        nn.init.normal_(parameter)
    wanted = source.state_dict()
    content = serialized({f'backbone.{k}': v for k, v in wanted.items()})
    cfg = load_config(config, dict(pretrained=server.add('/a.pth', content)))
    model = MODELS.build(cfg.model)
    model.init_weights()
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, wanted[key]), key
    assert server.asked == ['/a.pth']


def test_no_such_file_and_no_server(server, cache):
    message = 'gone.pth was not downloaded: HTTP Error 404: Not Found. Nothing'
    with pytest.raises(ValueError, match=message):
        load(f'{server.url}/gone.pth')
    server.shutdown()
    server.server_close()
    with pytest.raises(ValueError, match=r'downloaded: .* refused\. Nothing'):
        load(f'{server.url}/gone.pth')
    assert kept(cache) == []


def test_a_bad_file_that_others_left_is_replaced(server, cache):
    cache.mkdir(parents=True)
    (cache / 'small.pth').write_bytes(PAGE)
    assert load(server.add('/small.pth', WHOLE))
    assert (cache / 'small.pth').read_bytes() == WHOLE


def test_one_that_cannot_be_read_is_not_kept(server, cache):
    """An end is missing, which nothing told before it was read."""
    url = server.add('/small.pth', OLD[:-100], None)
    with pytest.raises(ValueError, match='cannot be read as a checkpoint'):
        load(url)
    assert kept(cache) == []
    assert load(server.add('/small.pth', OLD))


@pytest.mark.parametrize('fails', [True, False])
def test_the_first_process_downloads(fails, server, monkeypatch, cache):
    """And does not leave the others waiting if it fails."""
    url = server.add('/small.pth', PAGE if fails else WHOLE)
    met = []
    monkeypatch.setattr(download, 'barrier', lambda: met.append(kept(cache)))
    if fails:
        with pytest.raises(ValueError, match='a web page'):
            load(url)
        assert met == [[]]
        return
    assert load(url)
    assert met == [['small.pth']]
    monkeypatch.setattr(download, 'is_main_process', lambda: False)
    (cache / 'small.pth').unlink()
    assert load(url)  # a machine of its own
    assert met[1:] == [[]]
