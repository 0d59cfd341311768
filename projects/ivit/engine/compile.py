# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Compile the backbone, and nothing else, with ``torch.compile``."""

import logging

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from .errors import UsageError

HOOK = 'CompileBackboneHook'


@HOOKS.register_module()
class CompileBackboneHook(Hook):
    """Compile the backbone for images of any size when a run begins.

    mmengine's ``compile`` option compiles the whole training step. The Python
    code of the heads breaks it into many small graphs. This hook compiles the
    backbone in place, so the names of its weights do not change.

    For the whole process it sets ``optimize_ddp`` and ``specialize_float`` of
    ``torch._dynamo.config``.
    """

    # After hooks that copy the model, such as EMAHook.
    priority = 'LOWEST'

    def before_run(self, runner: Runner) -> None:
        """Mark the backbone; torch compiles it at the first images.

        Raises:
            UsageError: If the model has no backbone.
        """
        model = runner.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        backbone = getattr(model, 'backbone', None)
        if not isinstance(backbone, nn.Module):
            raise UsageError(
                f'--compile (CompileBackboneHook): {type(model).__name__} '
                'has no backbone to compile; leave it out.'
            )
        if not torch.cuda.is_available():
            print_log(
                'Compiling for images of any size is for GPUs: for CPUs '
                'PyTorch 2.11 fails or takes very long (docs/configs.md)',
                logger='current',
                level=logging.WARNING,
            )
        # With it torch splits the graph at the buckets of DDP, which raises
        # an error where residual blocks are recomputed (with_cp).
        torch._dynamo.config.optimize_ddp = False
        # Rates and epsilons never change. Otherwise torch treats them as
        # unknown, like the sizes, and makes every graph twice.
        torch._dynamo.config.specialize_float = True
        backbone.compile(dynamic=True)


def set_compile(cfg: Config, enable: bool) -> None:
    """Add :class:`CompileBackboneHook` to a config that does not have it.

    Args:
        cfg: The experiment's config, changed in place.
        enable: Whether to compile; if not, nothing changes.
    """
    hooks = cfg.get('custom_hooks') or []
    if enable and all(hook.get('type') != HOOK for hook in hooks):
        cfg.custom_hooks = [*hooks, dict(type=HOOK)]
