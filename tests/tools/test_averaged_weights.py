# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""``EMAHook`` through the tools: train, validate, resume, publish."""

import pytest
import torch
import toy_task

from ivit.backbones import IViT

SIZES = dict(dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), num_heads=(2, 2, 2, 4))
BACKBONE = dict(type='IViT', arch=SIZES, out_indices=(3,))
MOMENTUM = 0.3
AVERAGE = (
    'default_hooks.ema.type=EMAHook',
    f'default_hooks.ema.momentum={MOMENTUM}',
    'default_hooks.ema.priority=BELOW_NORMAL',
)


@pytest.fixture
def config(config):
    """The toy task with a backbone of ours, which has buffers too."""
    config.write_text(
        f'{config.read_text()}\n'
        f"model = dict(type='ToyNet', channels=32, backbone={BACKBONE})\n"
        "custom_imports['imports'].append('ivit')\n"
    )
    return config


@pytest.fixture
def seen(monkeypatch):
    """Copies of the weights after each step of a training or evaluation."""
    seen = dict(train_step=[], val_step=[], test_step=[])

    def spy(name, states):
        step = getattr(toy_task.ToyNet, name)

        def wrapped(self, *args, **kwargs):
            result = step(self, *args, **kwargs)
            states.append(copies(self.state_dict()))
            return result

        monkeypatch.setattr(toy_task.ToyNet, name, wrapped)

    for name, states in seen.items():
        spy(name, states)
    return seen


def copies(state):
    return {name: value.clone() for name, value in state.items()}


def average(states):
    """From the first step on; buffers are the last ones."""
    mean = copies(states[0])
    for state in states[1:]:
        for name, value in state.items():
            if 'running' in name or 'num_batches' in name:
                mean[name] = value
            else:
                mean[name] = (1 - MOMENTUM) * mean[name] + MOMENTUM * value
    return mean


def assert_near(found, wanted):
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, msg=name)


def differ(a, b):
    return any((a[name] - b[name]).abs().max() > 1e-3 for name in a)


def load(path):
    return torch.load(path, weights_only=False)


def test_train_validate_resume_publish(tool, config, tmp_path, seen):
    train = ('train', config, '--work-dir', 'out', '--cfg-options', *AVERAGE)
    tool(*train, 'train_cfg.max_epochs=1')
    mean = average(seen['train_step'])
    assert differ(mean, seen['train_step'][-1])
    # The weights of the validation are those of the checkpoint.
    assert_near(seen['val_step'][-1], mean)
    checkpoint = load(tmp_path / 'out/epoch_1.pth')
    assert_near(checkpoint['state_dict'], mean)
    trained = {
        name.removeprefix('module.'): value
        for name, value in checkpoint['ema_state_dict'].items()
        if name != 'steps'
    }
    assert_near(trained, seen['train_step'][-1])

    tool(*train, 'train_cfg.max_epochs=3', 'resume=True')
    assert len(seen['train_step']) == 3 * 2  # none again
    mean = average(seen['train_step'])
    assert_near(seen['val_step'][-1], mean)
    assert_near(load(tmp_path / 'out/epoch_3.pth')['state_dict'], mean)

    for flag, wanted in (('--ema', mean), (None, seen['train_step'][-1])):
        flags = [flag] if flag else []
        tool('publish_checkpoint', 'out/epoch_3.pth', f'new{flag}/a', *flags)
        (path,) = (tmp_path / f'new{flag}').iterdir()
        published = torch.load(path, weights_only=True)
        assert_near(published['state_dict'], wanted)
    tool('test', config, 'out/epoch_3.pth')
    assert_near(seen['test_step'][-1], mean)


@pytest.mark.parametrize('way', ['init_cfg', 'load_from'])
def test_it_starts_from_pretrained_weights(tool, config, tmp_path, way):
    """Not from the random ones that the hook copied before they were read."""
    backbone = IViT(SIZES, out_indices=(3,))
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter)
    torch.save(
        dict(
            state_dict={
                f'backbone.{name}': value
                for name, value in backbone.state_dict().items()
            }
        ),
        tmp_path / 'weights.pth',
    )
    place = {
        'init_cfg': (
            'model.backbone.init_cfg.type=Pretrained',
            'model.backbone.init_cfg.prefix=backbone.',
            'model.backbone.init_cfg.checkpoint=weights.pth',
        ),
        'load_from': ('load_from=weights.pth',),
    }[way]
    tool(
        'train',
        config,
        *('--work-dir', 'out', '--cfg-options', *AVERAGE, *place),
        'optim_wrapper.optimizer.lr=0.0',
        'train_cfg.max_epochs=1',
    )
    content = load(tmp_path / 'out/epoch_1.pth')
    for name, value in backbone.named_parameters():
        for state, prefix in (
            ('state_dict', ''),
            ('ema_state_dict', 'module.'),
        ):
            found = content[state][f'{prefix}backbone.{name}']
            torch.testing.assert_close(found, value.data, msg=name)
