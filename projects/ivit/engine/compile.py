# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""``torch.compile`` of the backbone alone."""

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

KIND = 'CompileBackboneHook'


@HOOKS.register_module()
class CompileBackboneHook(Hook):
    """Compile the backbone for images of any size when a run begins.

    mmengine's own ``compile`` takes the whole training step, with the heads,
    whose Python makes many small graphs. The backbone is compiled in place:
    names of weights, checkpoints and averaged weights stay what they are.
    """

    # After what copies the model, such as EMAHook.
    priority = 'LOWEST'

    def before_run(self, runner: Runner) -> None:
        """Compile; the work is done at the first image.

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
        # DDP would cut the graph into its buckets, which stops at
        # recomputed blocks.
        torch._dynamo.config.optimize_ddp = False
        # Rates and epsilons never change; as unknowns beside the sizes they
        # have every graph made twice.
        torch._dynamo.config.specialize_float = True
        backbone.compile(dynamic=True)


def set_compile(cfg: Config, enable: bool) -> None:
    """Add the hook to a config, in place, unless it is there.

    Args:
        cfg: The experiment's config.
        enable: Whether to compile.
    """
    hooks = cfg.get('custom_hooks') or []
    if enable and all(hook.get('type') != KIND for hook in hooks):
        cfg.custom_hooks = [*hooks, dict(type=KIND)]
