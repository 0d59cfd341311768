# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""One pass of a module: what is timed, and whose memory is measured."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Setting:
    """How modules are run.

    Attributes:
        train: Forward and backward, without an optimizer's step; otherwise
            forward in inference mode.
        batch: Images, or maps of tokens.
        dtype: Name of a dtype of torch: of the weights and the input, or,
            with ``amp``, of autocast around float32 weights.
        amp: Whether autocast is used.
        compiled: Whether modules go through ``torch.compile``.
        device: Where they run, ``'cpu'`` or ``'cuda'``.
        threads: Threads of PyTorch on the CPU.
    """

    train: bool = False
    batch: int = 1
    dtype: str = 'float32'
    amp: bool = False
    compiled: bool = False
    device: str = 'cpu'
    threads: int = 2

    def __str__(self) -> str:
        parts = [
            'forward and backward' if self.train else 'forward',
            f'batch of {self.batch}',
            f'autocast to {self.dtype}' if self.amp else self.dtype,
            'compiled' if self.compiled else 'eager',
        ]
        if self.device == 'cpu':
            parts.append(f'{self.threads} threads')
        return ', '.join(parts)


@dataclass
class Workload:
    """A module and what goes into it.

    Args:
        module: The module, of tensors and other arguments to a tensor or a
            sequence of tensors.
        inputs: The tensors.
        setting: How it is run.
        rest: Arguments after the tensors.
    """

    module: nn.Module
    inputs: tuple[Tensor, ...]
    setting: Setting
    rest: tuple[Any, ...] = ()
    run: Callable[..., Any] = field(init=False)
    _gradients: list[Tensor] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        setting = self.setting
        dtype = getattr(torch, setting.dtype)
        own = torch.float32 if setting.amp else dtype
        self.module.to(setting.device, own).train(setting.train)
        self.inputs = tuple(
            x.to(setting.device, own).requires_grad_(x.requires_grad)
            for x in self.inputs
        )
        self.run = self.module
        if setting.compiled:
            self.run = torch.compile(self.module)

    @property
    def num_bytes(self) -> int:
        """Memory of parameters and buffers."""
        tensors = (*self.module.parameters(), *self.module.buffers())
        return sum(t.numel() * t.element_size() for t in tensors)

    def __call__(self) -> None:
        """Run once; gradients are dropped."""
        setting = self.setting
        autocast: AbstractContextManager = nullcontext()
        if setting.amp:
            dtype = getattr(torch, setting.dtype)
            autocast = torch.autocast(setting.device, dtype)
        if not setting.train:
            with torch.inference_mode(), autocast:
                self.run(*self.inputs, *self.rest)
            return
        with autocast:
            outs = self.run(*self.inputs, *self.rest)
        outs = (outs,) if isinstance(outs, Tensor) else outs
        outs = [out for out in outs if out.requires_grad]
        if self._gradients is None:
            self._gradients = [torch.randn_like(out) for out in outs]
        torch.autograd.backward(outs, self._gradients)
        self.module.zero_grad()
        for x in self.inputs:
            x.grad = None
