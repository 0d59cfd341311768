# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import socket
import stat

import pytest
import torch

from ivit.backbones import IViT

SCRIPTS = ('dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh')


@pytest.mark.parametrize('script', SCRIPTS)
def test_missing_arguments(shell, script):
    done = shell(script, 'one')
    assert done.returncode == 2
    assert done.stderr.startswith('usage: ')
    assert script in done.stderr


@pytest.mark.parametrize('command', ['python', 'srun'])
def test_what_is_started(shell, tmp_path, command):
    """The commands, as a stub that only says its arguments sees them."""
    stub = tmp_path / 'bin' / command
    stub.parent.mkdir()
    stub.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    path = f'{stub.parent}:/usr/bin:/bin'
    options = ('--cfg-options', 'a=b c')
    if command == 'python':
        done = shell(
            'dist_train.sh',
            *('c.py', 8, *options),
            PATH=path,
            NNODES='2',
            NODE_RANK='1',
            MASTER_ADDR='host',
            PORT='1234',
        )
        said = done.stdout.splitlines()
        assert '--nnodes=2' in said
        assert '--node_rank=1' in said
        assert '--master_addr=host' in said
        assert '--master_port=1234' in said
        assert '--nproc_per_node=8' in said
        tail = ['c.py', '--launcher', 'pytorch', *options]
        assert said[-5:] == tail
        done = shell('dist_test.sh', 'c.py', 'c.pth', 8, *options, PATH=path)
        assert done.stdout.splitlines()[-6:] == ['c.py', 'c.pth', *tail[1:]]
        return
    args = ('part', 'job', 'c.py', 'out', *options)
    env = dict(GPUS='4', CPUS_PER_TASK='3', SRUN_ARGS='--qos=a --mem=1G')
    said = shell('slurm_train.sh', *args, PATH=path, **env).stdout.splitlines()
    assert said[:3] == ['-p', 'part', '--job-name=job']
    assert '--gres=gpu:4' in said
    assert '--ntasks=4' in said
    assert '--cpus-per-task=3' in said
    assert said[8:11] == ['--qos=a', '--mem=1G', 'python']
    tail = ['c.py', '--work-dir', 'out', '--launcher', 'slurm', *options]
    assert said[-7:] == tail
    said = shell('slurm_test.sh', *args, PATH=path).stdout.splitlines()
    assert said[-6:] == ['c.py', 'out', *tail[3:]]


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def weights(path):
    return torch.load(path, weights_only=False)['state_dict']


WIDTH = IViT.arch_settings['n']['dims'][-1]
# A backbone whose batch norm does not depend on the batch, so that the two
# ways are the same to rounding.
IVIT = (
    *(f'model.channels={WIDTH}', 'model.backbone.type=IViT'),
    *('model.backbone.arch=n', 'model.backbone.norm_eval=True'),
    'model.backbone.out_indices=[3]',
    *('train_dataloader.dataset.size=64', 'custom_imports.imports=ivit'),
)


@pytest.mark.slow
@pytest.mark.parametrize('options', [(), IVIT], ids=['toy', 'ivit'])
def test_two_cpu_processes(shell, tool, config, tmp_path, options):
    """Two processes with 2 images each step as one process with 4."""
    one_step = ('--cfg-options', 'train_cfg.max_epochs=1')
    one_step += ('train_dataloader.dataset.count=4', *options)
    tool('train', config, '--work-dir', 'single', *one_step)
    done = shell(
        'dist_train.sh',
        *(config, 2, '--work-dir', 'double', *one_step),
        'train_dataloader.batch_size=2',
        CUDA_VISIBLE_DEVICES='',
        PORT=free_port(),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    single = weights(tmp_path / 'single/epoch_1.pth')
    double = weights(tmp_path / 'double/epoch_1.pth')
    assert single.keys() == double.keys()
    for name, value in single.items():
        torch.testing.assert_close(double[name], value, atol=1e-6, rtol=0)
    done = shell(
        'dist_test.sh',
        *(config, tmp_path / 'double/epoch_1.pth', 2, '--out', 'out.pkl'),
        *one_step,
        CUDA_VISIBLE_DEVICES='',
        PORT=free_port(),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / 'out.pkl').is_file()


@pytest.mark.slow
def test_frozen_stages_in_two_processes(shell, config, tmp_path):
    """DDP stops at the second step if a frozen parameter was registered."""
    done = shell(
        'dist_train.sh',
        *(config, 2, '--cfg-options', *IVIT),
        *('train_cfg.max_epochs=2', 'model.backbone.frozen_stages=1'),
        CUDA_VISIBLE_DEVICES='',
        PORT=free_port(),
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_sync_bn_on_the_cpu(shell, tool, config, tmp_path):
    sync_bn = ('--cfg-options', 'model.norm_cfg.type=SyncBN')
    tool('train', config, '--work-dir', 'single', *sync_bn)
    done = shell(
        'dist_train.sh',
        *(config, 2, '--work-dir', 'double', *sync_bn),
        CUDA_VISIBLE_DEVICES='',
        PORT=free_port(),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for run in ('single', 'double'):
        trained = weights(tmp_path / run / 'epoch_2.pth')
        assert trained['backbone.bn.running_mean'].abs().sum() > 0
