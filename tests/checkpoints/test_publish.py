# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""From a training's checkpoint to a file for others, and into a backbone."""

import hashlib
import re
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import CheckpointLoader, Runner
from official_files import authors
from run_tool import run_tool
from torch import nn

import ivit.backbones  # noqa: F401  # registers them
from ivit import cli
from ivit.checkpoints import save_hashed, save_new, strip_checkpoint

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
PLAIN = (dict, list, tuple, str, int, float, bool, type(None))


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 1)
        self.norm = nn.BatchNorm1d(1)

    def forward(self, inputs, mode):
        return dict(loss=self.norm(self.fc(torch.stack(inputs))).exp().mean())


class Points(torch.utils.data.Dataset):
    metainfo = dict(
        classes=('a', 'b'),
        palette=np.array([[0, 1, 2], [3, 4, 5]], dtype=np.uint8),
        ids={np.int64(3): 'a'},
    )

    def __len__(self):
        return 8

    def __getitem__(self, i):
        return dict(inputs=torch.tensor([float(i), 1.0]))


def train(folder, hooks):
    """Two epochs; the runner, and its checkpoint."""
    runner = Runner(
        model=Line(),
        work_dir=str(folder),
        train_dataloader=dict(
            batch_size=4,
            num_workers=0,
            dataset=Points(),
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1)),
        param_scheduler=dict(type='ConstantLR', factor=0.5),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook')),
        custom_hooks=hooks,
        experiment_name=folder.name,
        log_level='ERROR',
    )
    runner.train()
    return runner, folder / 'epoch_2.pth'


@pytest.fixture(scope='module')
def with_average(tmp_path_factory, forget_globals):
    hook = dict(type='EMAHook', momentum=0.3, priority='NORMAL')
    trained = train(tmp_path_factory.mktemp('with_average'), [hook])
    forget_globals()
    return trained


@pytest.fixture(scope='module')
def without_average(tmp_path_factory, forget_globals):
    trained = train(tmp_path_factory.mktemp('without_average'), [])
    forget_globals()
    return trained


@pytest.fixture
def publish(tmp_path, monkeypatch):
    def run(source, *args):
        run_tool(
            monkeypatch,
            'publish_checkpoint',
            source,
            tmp_path / 'new/line',
            *args,
        )
        (path,) = (tmp_path / 'new').iterdir()
        return path, torch.load(path, weights_only=True)

    return run


def load(path):
    """As everything that takes a checkpoint does."""
    return CheckpointLoader.load_checkpoint(str(path), 'cpu', 'silent')


def assert_same(found, wanted):
    assert list(found) == list(wanted)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def types_in(value):
    yield type(value)
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from types_in(item)


def test_what_stays(without_average, publish):
    runner, source = without_average
    assert 'optimizer' in torch.load(source, weights_only=False)
    path, content = publish(source)
    assert set(content) == {'state_dict', 'meta'}
    assert_same(content['state_dict'], runner.model.state_dict())
    versions = content['state_dict']._metadata
    assert versions == runner.model.state_dict()._metadata
    assert versions['norm'] == dict(version=2)
    meta = content['meta']
    assert set(types_in(meta)) <= set(PLAIN)
    assert (meta['epoch'], meta['iter']) == (2, 4)
    assert meta['dataset_meta'] == dict(
        classes=('a', 'b'), palette=[[0, 1, 2], [3, 4, 5]], ids={3: 'a'}
    )
    assert set(meta) == {
        *('cfg', 'dataset_meta', 'epoch', 'iter', 'mmengine_version')
    }
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f'line-{digest[:8]}.pth'


def test_trained_or_averaged(with_average, tmp_path, publish, capsys):
    runner, source = with_average
    (hook,) = (h for h in runner.hooks if type(h).__name__ == 'EMAHook')
    average = hook.ema_model.module.state_dict()
    trained = runner.model.state_dict()
    assert not torch.equal(average['fc.weight'], trained['fc.weight'])
    path, content = publish(source)
    assert_same(content['state_dict'], trained)
    assert 'not averaged' in capsys.readouterr().out
    path.unlink()
    _, content = publish(source, '--ema')
    assert_same(content['state_dict'], average)
    assert 'averaged by EMAHook' in capsys.readouterr().out


def test_no_averaged_weights(without_average, publish, capsys):
    with pytest.raises(SystemExit):
        publish(without_average[1], '--ema')
    assert 'error: The checkpoint has no averaged' in capsys.readouterr().err


def test_a_file_of_safetensors(without_average, tmp_path, publish_command):
    """With all that the file of torch has, and a hash that stays."""
    runner, source = without_average
    for folder in ('new', 'again'):
        publish_command(source, tmp_path / folder / 'line.safetensors')
    publish_command(source, tmp_path / 'new' / 'line')
    (path,) = (tmp_path / 'new').glob('*.safetensors')
    (other,) = (tmp_path / 'new').glob('*.pth')
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f'line-{digest[:8]}.safetensors'
    assert (tmp_path / 'again' / path.name).is_file()
    content = load(path)
    state = content['state_dict']
    wanted = runner.model.state_dict()
    assert_same({name: state[name] for name in wanted}, wanted)
    assert set(state) == set(wanted)
    assert state._metadata == wanted._metadata
    meta = load(other)['meta']
    assert content['meta'].pop('dataset_meta') == dict(
        classes=['a', 'b'], palette=[[0, 1, 2], [3, 4, 5]], ids={3: 'a'}
    )
    del meta['dataset_meta']
    assert content['meta'] == meta
    # It can be published itself.
    publish_command(path, tmp_path / 'back.safetensors')
    (again,) = tmp_path.glob('back-*.safetensors')
    assert again.read_bytes() == path.read_bytes()


def test_averaged_weights_in_safetensors(
    with_average, tmp_path, publish_command
):
    runner, source = with_average
    (hook,) = (h for h in runner.hooks if type(h).__name__ == 'EMAHook')
    publish_command(source, tmp_path / 'line.safetensors', '--ema')
    (path,) = tmp_path.iterdir()
    average = hook.ema_model.module.state_dict()
    state = load(path)['state_dict']
    assert_same({name: state[name] for name in average}, average)


def test_memory_order_is_no_obstacle(tmp_path):
    weight = torch.rand(2, 3, 4, 4).contiguous(
        memory_format=torch.channels_last
    )
    content = strip_checkpoint(dict(state_dict=dict(weight=weight)))
    path = save_hashed(content, tmp_path / 'new.safetensors')
    assert torch.equal(load(path)['state_dict']['weight'], weight)


def test_a_file_of_torch_is_not_called_safetensors(tmp_path):
    with pytest.raises(ValueError, match='let it end with .pth'):
        save_new(dict(a=1), tmp_path / 'new.safetensors')
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(without_average, publish, capsys):
    path, _ = publish(without_average[1])
    path.write_bytes(b'precious')  # the same content has the same name
    with pytest.raises(SystemExit):
        publish(without_average[1])
    assert f'error: {path} exists' in capsys.readouterr().err
    assert path.read_bytes() == b'precious'


def test_nothing_is_left_of_a_file_that_did_not_fit(tmp_path):
    content = dict(weight=torch.zeros(10**5))
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, old[1]))
    try:
        with pytest.raises(OSError, match='too large'):
            save_hashed(content, tmp_path / 'large')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert not list(tmp_path.iterdir())
    assert save_hashed(content, tmp_path / 'large').is_file()


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (authors('FLattenPVT'), 'no state_dict.*convert_checkpoint.py first'),
        (dict(a=torch.zeros(1)), 'no state_dict.*it has a'),
        (dict(state_dict={}, b=torch.zeros(1)), 'no state_dict'),
        (b'<!DOCTYPE html>', 'is not a checkpoint: it is a web page'),
        (None, 'checkpoint not found'),
    ],
)
def test_what_is_no_checkpoint(content, message, tmp_path, publish, capsys):
    path = tmp_path / 'file.pth'
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(SystemExit):
        publish(path)
    error = capsys.readouterr().err
    assert re.search(f'^error: .*{message}', error)
    assert not (tmp_path / 'new').exists()


def test_views_are_saved_without_the_rest(tmp_path):
    content = dict(state_dict=dict(weight=torch.zeros(10**6)[:2], step=3))
    path = save_hashed(strip_checkpoint(content), tmp_path / 'small.pth')
    assert path.stat().st_size < 10_000
    assert path.name.startswith('small-')
    assert list(torch.load(path)['state_dict']) == ['weight']


@pytest.mark.parametrize(
    ('scope', 'config'),
    [
        ('mmdet', 'mask_rcnn_flatten_swin_n_shapes.py'),
        ('mmdet', 'mask_rcnn_ivit_n_shapes.py'),
        ('mmseg', 'upernet_ivit_n_shapes.py'),
    ],
)
def test_classifier_in_a_detector(scope, config, tmp_path):
    """As ``init_cfg`` of the backbone, as it is."""
    config = Config.fromfile(CONFIGS / config).model
    backbone = {**config.backbone, 'out_indices': (3,)}
    classifier = MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=backbone,
            neck=dict(type='mmpretrain.GlobalAveragePooling'),
            head=dict(
                type='mmpretrain.LinearClsHead',
                in_channels=256,
                num_classes=5,
            ),
        )
    )
    for parameter in classifier.parameters():
        nn.init.normal_(parameter)
    weights = classifier.state_dict()
    path = save_hashed(
        strip_checkpoint(dict(state_dict=weights)), tmp_path / 'classifier'
    )
    config.backbone.init_cfg = dict(
        type='Pretrained', checkpoint=str(path), prefix='backbone.'
    )
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(config)
        model.init_weights()
    loaded = model.backbone.state_dict()
    shared = {
        name: value
        for name, value in loaded.items()
        if f'backbone.{name}' in weights
    }
    assert len(shared) + 2 == len(weights)  # all but the head's
    for name, value in shared.items():
        assert torch.equal(value, weights[f'backbone.{name}']), name


def test_the_backbone_alone(tmp_path, publish_command, capsys):
    """In half precision, and it goes into a backbone as any file does."""
    torch.manual_seed(0)
    model = MODELS.build(dict(type='IViT', arch='n'))
    state = {f'backbone.{k}': v for k, v in model.state_dict().items()}
    source = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=state | {'head.fc': torch.ones(2)}), source)
    publish_command(source, tmp_path / 'new', '--backbone')
    path = tmp_path / 'new.safetensors'
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f'SHA-256: {digest}' in capsys.readouterr().out
    torch.manual_seed(1)
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    other = MODELS.build(dict(type='IViT', arch='n', init_cfg=init_cfg))
    other.init_weights()
    loaded = other.state_dict()
    for name, value in model.state_dict().items():
        wanted = value.half() if value.is_floating_point() else value
        assert torch.equal(loaded[name], wanted.to(value.dtype)), name
    with pytest.raises(SystemExit):  # with and without the ending
        publish_command(source, path, '--backbone')
    assert 'exists and is not overwritten' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('state', 'message'),
    [
        ({'head.fc': torch.ones(2)}, 'no weights whose names begin with back'),
        ({'backbone.a': torch.tensor([1e6])}, 'backbone.a has values up to'),
    ],
)
def test_no_backbone_to_publish(
    state, message, tmp_path, publish_command, capsys
):
    source = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=state), source)
    with pytest.raises(SystemExit):
        publish_command(source, tmp_path / 'new', '--backbone')
    assert message.removeprefix('backbone.') in capsys.readouterr().err
    assert not (tmp_path / 'new.safetensors').exists()


@pytest.fixture
def publish_command():
    """Run the command in this process."""

    def run(*args):
        cli.main(['publish', *map(str, args)])

    return run
