# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Mixed precision on GPUs and, where mmengine has none, on the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from .errors import UsageError

GPU_WRAPPER = 'AmpOptimWrapper'
CPU_WRAPPER = 'BFloat16CPUOptimWrapper'


@OPTIM_WRAPPERS.register_module()
class BFloat16CPUOptimWrapper(OptimWrapper):
    """Run the forward pass under bfloat16 autocast on the CPU.

    mmengine's ``AmpOptimWrapper`` refuses to start without an accelerator.
    There is no loss scaling: bfloat16 has the range of float32.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context of mmengine's wrapper, with autocast in it."""
        with (
            super().optim_context(model),
            torch.autocast('cpu', dtype=torch.bfloat16),
        ):
            yield


def set_amp(cfg: Config, enable: bool) -> None:
    """Choose the optimizer wrapper for mixed precision on this device.

    A config that asks for mixed precision by itself gets the wrapper of this
    device as well, so that it runs on GPUs and on the CPU. On GPUs ``enable``
    also lets float32 products use TensorFloat-32, in the whole process.

    Args:
        cfg: The experiment's config, changed in place.
        enable: Whether to turn mixed precision on.

    Raises:
        UsageError: If the config has a wrapper that cannot be replaced.
    """
    wrapper = cfg.get('optim_wrapper')
    if wrapper is None:
        return  # the runner raises the error
    kind = wrapper.get('type', 'OptimWrapper')
    known = ('OptimWrapper', GPU_WRAPPER, CPU_WRAPPER)
    if enable and kind not in known:
        raise UsageError(
            f'--amp cannot change optim_wrapper.type={kind!r}: it replaces '
            f'{known[0]!r} only. Set mixed precision in the config instead.'
        )
    if get_device() == 'cpu':
        if enable or kind == GPU_WRAPPER:
            wrapper.type = CPU_WRAPPER
            for option in ('loss_scale', 'dtype', 'use_fsdp'):
                wrapper.pop(option, None)
        return
    if enable:
        # Focused linear attention stays in float32 and would take most of
        # the time. TensorFloat-32 has the precision of float16.
        torch.set_float32_matmul_precision('high')
    if enable or kind == CPU_WRAPPER:
        wrapper.type = GPU_WRAPPER
        wrapper.setdefault('loss_scale', 'dynamic')
