# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Multiply-adds of whatever runs, and what of it could not be counted."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
# PyTorch's formulas, and its attention on CPUs, which they leave out.
FORMULAS = {
    **flop_registry,
    aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[
        aten._scaled_dot_product_flash_attention
    ],
}
PRODUCTS = ('bmm', 'scaled_dot_product')
# What makes or moves numbers, or asks for one, and computes none.
MOVES = frozenset(
    (
        *('arange', 'empty', 'empty_like', 'empty_strided', 'eye', 'full'),
        *('full_like', 'new_empty', 'new_empty_strided', 'new_full'),
        *('new_ones', 'new_zeros', 'ones', 'ones_like', 'rand', 'randn'),
        *('scalar_tensor', 'zeros', 'zeros_like', 'fill_', 'zero_'),
        *('cat', 'clone', 'constant_pad_nd', 'copy', 'copy_', '_copy_from'),
        *('gather', 'index', 'index_copy_', 'index_put_', 'index_select'),
        *('lift_fresh', '_local_scalar_dense', 'masked_select', 'nonzero'),
        *('repeat', 'resize_', 'roll', 'scatter', 'scatter_', 'set_'),
        *('stack', 'sym_size', '_to_copy', '_unsafe_index', '_unsafe_view'),
        *('is_same_size', 'im2col'),
    )
)


@dataclass
class Cost:
    """What ran.

    Attributes:
        macs: Multiply-adds of convolutions and matrix products.
        products: The share of ``macs`` that are products of two activations,
            as in attention.
        uncounted: Elements that went through every other operation that
            computes, the larger of its inputs and outputs, by its name.
    """

    macs: int = 0
    products: int = 0
    uncounted: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: 'Cost') -> 'Cost':
        return Cost(
            self.macs + other.macs,
            self.products + other.products,
            self.uncounted + other.uncounted,
        )


class Meter(TorchDispatchMode):
    """Counts what runs while it is active.

    Attributes:
        costs: What ran, by part.
        part: To which part goes what runs now.
    """

    def __init__(self) -> None:
        super().__init__()
        self.costs: defaultdict[str, Cost] = defaultdict(Cost)
        self.part = ''

    @property
    def total(self) -> Cost:
        """All parts together."""
        return sum(self.costs.values(), Cost())

    @contextmanager
    def within(self, part: str) -> Iterator[Cost]:
        """Let what runs inside go to a part."""
        before, self.part = self.part, part
        try:
            yield self.costs[part]
        finally:
            self.part = before

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        packet = func._overloadpacket
        if (
            packet not in FORMULAS
            and func is not torch.ops.prim.device.default
        ):
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        name = packet._qualified_op_name.removeprefix('aten::')
        cost = self.costs[self.part]
        if packet in FORMULAS:
            macs = FORMULAS[packet](*args, **kwargs, out_val=out) // 2
            cost.macs += macs
            if any(part in name for part in PRODUCTS):
                cost.products += macs
        elif not (name in MOVES or _is_view(func)):
            sizes = (
                x.numel()
                for x in tree_leaves((args, kwargs, out))
                if isinstance(x, Tensor)
            )
            cost.uncounted[name] += max(sizes, default=0)
        return out


def _is_view(func: Any) -> bool:
    """Whether an operation returns another view of what it was given."""
    return any(
        x.alias_info is not None and not x.alias_info.is_write
        for x in func._schema.arguments
    )


@contextmanager
def measure() -> Iterator[Meter]:
    """Count what runs inside, on any device, the meta device too."""
    # The fused layers of nn.MultiheadAttention have no formula.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), Meter() as meter:
            yield meter
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
