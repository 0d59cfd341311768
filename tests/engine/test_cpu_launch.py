# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODEL_WRAPPERS
from torch import distributed as dist
from torch import nn

from ivit.engine import UsageError, distributed

TORCHRUN = dict(
    RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1', MASTER_PORT='29511'
)


@pytest.fixture
def started(monkeypatch):
    """The arguments of the process groups started, none of them for real."""
    calls = []
    monkeypatch.setattr(distributed, 'get_device', lambda: 'cpu')
    monkeypatch.setattr(
        distributed.dist,
        'init_process_group',
        lambda *args: calls.append(args),
    )
    for name in (*TORCHRUN, 'SLURM_PROCID'):
        monkeypatch.delenv(name, raising=False)
    return calls


def config(launcher='pytorch', **options):
    return Config(dict(launcher=launcher, model=dict(type='Net'), **options))


def test_wrapper_without_a_device(started, monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    cfg = config(find_unused_parameters=True)
    distributed.prepare_cpu_launch(cfg)
    assert started == [('gloo',)]
    assert cfg.model_wrapper_cfg == dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=True,
    )
    cfg = config(model_wrapper_cfg=dict(static_graph=True))
    distributed.prepare_cpu_launch(cfg)
    assert cfg.model_wrapper_cfg.static_graph
    assert cfg.model_wrapper_cfg.device_ids is None


def test_the_configs_own_wrapper_is_kept(started, monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)

    class Mine(MMDistributedDataParallel):
        pass

    class Sharded:
        pass

    monkeypatch.setitem(MODEL_WRAPPERS.module_dict, 'Mine', Mine)
    monkeypatch.setitem(MODEL_WRAPPERS.module_dict, 'Sharded', Sharded)
    cfg = config(model_wrapper_cfg=dict(type='Mine'))
    distributed.prepare_cpu_launch(cfg)
    assert cfg.model_wrapper_cfg == dict(type='Mine', device_ids=None)
    cfg = config(model_wrapper_cfg=dict(type='Sharded'))
    distributed.prepare_cpu_launch(cfg)
    assert cfg.model_wrapper_cfg == dict(type='Sharded')


def test_sync_bn_becomes_bn_wherever_it_stands(started, monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    cfg = config(sync_bn='torch')
    cfg.model.norm_cfg = dict(type='SyncBN', requires_grad=True)
    cfg.model.heads = [dict(norm_cfg=dict(type='MMSyncBN')), 3]
    distributed.prepare_cpu_launch(cfg)
    assert cfg.model.norm_cfg == dict(type='BN', requires_grad=True)
    assert cfg.model.heads == [dict(norm_cfg=dict(type='BN')), 3]
    assert cfg.sync_bn is None


def test_slurm_speaks_to_torch(started, monkeypatch):
    slurm = dict(SLURM_PROCID='3', SLURM_NTASKS='4', SLURM_LOCALID='1')
    for name, value in dict(slurm, MASTER_ADDR='host').items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv('LOCAL_RANK', '0')
    for name in ('RANK', 'WORLD_SIZE', 'MASTER_PORT'):
        monkeypatch.setenv(name, 'before')
        monkeypatch.delenv(name)
    distributed.prepare_cpu_launch(config('slurm'))
    env = distributed.os.environ
    names = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_PORT')
    assert [env[name] for name in names] == ['3', '4', '1', '29500']
    assert started == [('gloo',)]


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm'])
def test_a_launcher_that_did_not_start_us(started, launcher):
    with pytest.raises(UsageError, match=f'--launcher {launcher} needs'):
        distributed.prepare_cpu_launch(config(launcher))
    assert started == []


def test_gpus_and_single_processes_are_left_to_mmengine(started, monkeypatch):
    for launcher in ('none', 'mpi'):
        distributed.prepare_cpu_launch(config(launcher))
    monkeypatch.setattr(distributed, 'get_device', lambda: 'cuda')
    cfg = config(model_wrapper_cfg=None)
    distributed.prepare_cpu_launch(cfg)
    assert cfg.model_wrapper_cfg is None
    assert started == []


@pytest.mark.skipif(sys.platform != 'linux', reason='counts by /proc')
def test_no_thread_of_the_group_is_left(tmp_path):
    """One that is aborts the process when Python ends before it."""

    def threads():
        tasks = Path('/proc/self/task').glob('*/comm')
        return [task.read_text() for task in tasks]

    dist.init_process_group(
        'gloo', f'file://{tmp_path}/store', rank=0, world_size=1
    )
    model = MMDistributedDataParallel(nn.Linear(1, 1), device_ids=None)
    model.mine = model  # the runner's hooks make such cycles
    del model
    assert any('gloo' in name for name in threads())
    distributed.leave_process_group()
    assert not any('gloo' in name for name in threads())
    assert not dist.is_initialized()
    distributed.leave_process_group()
