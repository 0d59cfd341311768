# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import shutil

import pytest
import torch
from mmengine.config import Config

from ivit.backbones import IViT
from ivit.datasets import ensure_shapes


def load(path):
    return torch.load(path, map_location='cpu', weights_only=False)


def learning_rate(path):
    return load(path)['optimizer']['param_groups'][0]['lr']


def test_trains_into_a_folder_named_after_the_config(tool, config, tmp_path):
    tool('train', config)
    done = load(tmp_path / 'work_dirs/toy/epoch_2.pth')
    assert (done['meta']['epoch'], done['meta']['iter']) == (2, 4)


def test_resume_ends_where_an_unbroken_training_ends(tool, config, tmp_path):
    tool('train', config, '--work-dir', 'whole')
    broken_off = tmp_path / 'parts/epoch_1.pth'
    broken_off.parent.mkdir()
    shutil.copy(tmp_path / 'whole/epoch_1.pth', broken_off)
    (tmp_path / 'parts/last_checkpoint').write_text(str(broken_off))
    tool('train', config, '--work-dir', 'parts', '--resume')
    tool(
        'train',
        config,
        *('--work-dir', 'named', '--resume', 'parts/epoch_1.pth'),
    )
    whole = load(tmp_path / 'whole/epoch_2.pth')
    for other in ('parts', 'named'):
        resumed = load(tmp_path / other / 'epoch_2.pth')
        assert resumed['meta']['iter'] == whole['meta']['iter'] == 4
        assert resumed['param_schedulers'] == whole['param_schedulers']
        for name, value in whole['state_dict'].items():
            torch.testing.assert_close(resumed['state_dict'][name], value)
    assert not (tmp_path / 'named/epoch_1.pth').exists()
    # halved after the first epoch, once
    assert learning_rate(tmp_path / 'parts/epoch_2.pth') == 0.05


def test_cfg_options_and_auto_scale_lr(tool, config, tmp_path):
    tool(
        'train',
        config,
        *('--auto-scale-lr', '--work-dir', 'out', '--cfg-options'),
        *('param_scheduler=None', 'train_cfg.max_epochs=1'),
        *('model.channels=5', 'model.norm_cfg.type=BN'),
    )
    # a batch of 4 where the rate was chosen for 16
    assert learning_rate(tmp_path / 'out/epoch_1.pth') == 0.1 * 4 / 16
    assert Config.fromfile(tmp_path / 'out/toy.py').model.channels == 5
    weights = load(tmp_path / 'out/epoch_1.pth')['state_dict']
    assert weights['head.weight'].shape == (3, 5)


@pytest.mark.skipif(torch.cuda.is_available(), reason='AMP on the CPU')
@pytest.mark.parametrize('by', ['flag', 'config'])
def test_amp_on_the_cpu_is_bfloat16(tool, config, monkeypatch, by):
    import toy_task

    seen = []
    forward = toy_task.ToyNet.forward

    def spy(self, *args, **kwargs):
        result = forward(self, *args, **kwargs)
        if kwargs.get('mode') == 'loss':
            seen.append((self.dtypes[-1], self.head.weight.dtype))
        return result

    monkeypatch.setattr(toy_task.ToyNet, 'forward', spy)
    if by == 'flag':
        tool('train', config, '--amp')
    else:
        options = ('type=AmpOptimWrapper', 'loss_scale=dynamic')
        options = [f'optim_wrapper.{option}' for option in options]
        tool('train', config, '--cfg-options', *options)
    assert seen == [(torch.bfloat16, torch.float32)] * 4


def error(tool, capsys, *args):
    """The one line with which a tool ends."""
    with pytest.raises(SystemExit) as end:
        tool(*args)
    assert end.value.code == 1
    lines = capsys.readouterr().err.strip().splitlines()
    line = next(line for line in lines if line.startswith('error: '))
    assert 'Traceback' not in ''.join(lines)
    return line


def test_user_errors_are_one_line(tool, config, tmp_path, capsys):
    def train(*args):
        return error(tool, capsys, 'train', *args)

    assert f'{tmp_path}/no.py' in train('no.py')
    assert f'{tmp_path}/no.pth' in train(config, '--resume', 'no.pth')
    options = ('--cfg-options', 'load_from=gone.pth')
    assert f'{tmp_path}/gone.pth' in train(config, *options)
    kind = 'optim_wrapper.type=OtherWrapper'
    message = train(config, '--amp', '--cfg-options', kind)
    assert "'OtherWrapper'" in message
    options = ('--cfg-options', 'auto_scale_lr=None')
    message = train(config, '--auto-scale-lr', *options)
    assert 'auto_scale_lr = dict(base_batch_size=16)' in message
    message = train(config, '--cfg-options', 'model.type=NoSuchNet')
    assert 'NoSuchNet is not in the' in message
    assert 'custom_imports' in message
    config.write_text(config.read_text().replace('toy_task', 'no_such_module'))
    assert 'no_such_module' in train(config)


def test_missing_data_is_told_before_a_model_is_built(
    tool, config, tmp_path, capsys
):
    with config.open('a') as file:
        file.write(
            "model.update(type='NoSuchNet')\n"
            "train_dataloader['dataset'] = dict(type='CocoDataset',"
            "data_root='data/coco', ann_file='annotations/train.json',"
            "data_prefix=dict(img='train2017/'))\n"
        )
    message = error(tool, capsys, 'train', config)
    assert f'{tmp_path}/data/coco with annotations/train.json' in message
    assert 'docs/data.md' in message


@pytest.mark.parametrize('command', [('train',), ('test', 'some.pth')])
def test_ivit_without_custom_imports(tool, config, capsys, command):
    name, *checkpoint = command
    options = ('--cfg-options', 'model.backbone.type=IViT')
    message = error(tool, capsys, name, config, *checkpoint, *options)
    assert f"{config} uses 'IViT'" in message
    assert "custom_imports = dict(imports=['ivit'], allow_failed" in message


def test_shapes_half_there(tool, config, tmp_path, capsys):
    sizes = dict(num_train=2, num_val=1, image_size=32)
    root = ensure_shapes(tmp_path / 'half', **sizes)
    (root / 'images/train/000001.jpg').unlink()
    with config.open('a') as file:
        file.write(
            "custom_imports['imports'] += ['ivit']\n"
            "train_dataloader['dataset'] = dict(type='ShapesClsDataset',"
            f"data_root='half', data_prefix='classes/train', **{sizes})\n"
        )
    message = error(tool, capsys, 'train', config)
    assert 'half lacks files: 1 of 2 in images/train' in message
    assert 'Name another folder as data_root' in message


def test_what_ivit_refuses_is_one_line(tool, config, capsys):
    with config.open('a') as file:
        file.write("custom_imports['imports'] += ['ivit']\n")
    options = ('--cfg-options', 'model.backbone.type=IViT')
    message = error(tool, capsys, 'train', config, *options, arch('none'))
    assert "'none'" in message
    width = f'model.channels={IViT.arch_settings["n"]["dims"][-1]}'
    tool('train', config, *options, arch('n'), width)
    checkpoint = config.parent / 'work_dirs/toy/epoch_2.pth'
    options += (arch('t'), width)
    message = error(tool, capsys, 'test', config, checkpoint, *options)
    assert 'The checkpoint does not fit this IViT' in message
    assert 'another arch' in message
    start = f'load_from={checkpoint}'
    message = error(tool, capsys, 'train', config, *options, start)
    assert 'The checkpoint does not fit this IViT' in message
    assert 'another arch' in message


def arch(name):
    return f'model.backbone.arch={name}'


def test_errors_of_others_keep_their_traceback(tool, config, monkeypatch):
    import toy_task

    def fail(self, *args, **kwargs):
        raise ValueError('not for one line')

    monkeypatch.setattr(toy_task.ToyNet, 'forward', fail)
    with pytest.raises(ValueError, match='not for one line'):
        tool('train', config)
