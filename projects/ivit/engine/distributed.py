# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Run several processes on machines without a GPU."""

import gc
import os
import subprocess

from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.registry import MODEL_WRAPPERS
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ..nested import iterate_dicts
from .errors import UsageError

SYNC_BN = ('SyncBN', 'MMSyncBN')


def prepare_cpu_launch(cfg: Config) -> None:
    """Let processes that torchrun or slurm started run on the CPU.

    mmengine's launchers call ``torch.cuda.set_device`` and give the model
    wrapper the number of a GPU. So this function starts the process group
    itself, with gloo, before the runner is built, and sets the wrapper's
    ``device_ids`` to None. It replaces synchronised batch norm, which needs a
    GPU, by plain batch norm. (In a single process mmengine does that.)

    It does nothing if there is an accelerator, if there is no launcher or if
    the launcher is mpi.

    Args:
        cfg: The experiment's config, changed in place.

    Raises:
        UsageError: If the launcher's environment variables are not set.
    """
    if cfg.launcher not in ('pytorch', 'slurm') or get_device() != 'cpu':
        return
    if cfg.launcher == 'slurm':
        _slurm_to_torchrun()
    absent = [
        name
        for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')
        if name not in os.environ
    ]
    if absent:
        raise UsageError(
            f'--launcher {cfg.launcher} needs the environment variables '
            f'{", ".join(absent)}: start it with tools/dist_train.sh, '
            'tools/dist_test.sh or torchrun.'
        )
    if not dist.is_initialized():
        dist.init_process_group('gloo')
    cfg.sync_bn = None
    for node in iterate_dicts(cfg.model):
        if node.get('type') in SYNC_BN:
            node['type'] = 'BN'
    cfg.model_wrapper_cfg = _cpu_wrapper(cfg)


def leave_process_group() -> None:
    """End the process group, when nothing uses the runner any more.

    mmengine leaves that to the interpreter's exit. There a thread of gloo
    that still holds a tensor now and then aborts the process.
    """
    if dist.is_initialized():
        dist.destroy_process_group()
        # The model wrapper holds the group too, in reference cycles.
        gc.collect()


def _slurm_to_torchrun() -> None:
    """Set the environment variables that torch reads from those of slurm."""
    env = os.environ
    if 'SLURM_PROCID' not in env:
        raise UsageError(
            '--launcher slurm needs a slurm job: start it with '
            'tools/slurm_train.sh or tools/slurm_test.sh.'
        )
    env['RANK'] = env['SLURM_PROCID']
    env['WORLD_SIZE'] = env['SLURM_NTASKS']
    env['LOCAL_RANK'] = env.get('SLURM_LOCALID', '0')
    env.setdefault('MASTER_PORT', '29500')
    if 'MASTER_ADDR' not in env:
        hosts = subprocess.run(
            ['scontrol', 'show', 'hostname', env['SLURM_NODELIST']],
            check=True,
            capture_output=True,
            text=True,
        )
        env['MASTER_ADDR'] = hosts.stdout.split()[0]


def _cpu_wrapper(cfg: Config) -> ConfigDict:
    """The config's model wrapper, or mmengine's default, without a device."""
    wrapper = cfg.get('model_wrapper_cfg') or ConfigDict(
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    wrapper.setdefault('type', 'MMDistributedDataParallel')
    if issubclass(MODEL_WRAPPERS.get(wrapper.type), DistributedDataParallel):
        wrapper.device_ids = None
    return wrapper
