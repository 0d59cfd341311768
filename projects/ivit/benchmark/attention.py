# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Attentions over more and more tokens (arXiv 2402.17507, Fig. 3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..attention import (
    FocusedLinearAttention,
    InteractiveAttention,
    focused_linear_attention,
)
from .compare import Result, Row, compare
from .naive import (
    NaiveAttention,
    naive_attention,
)
from .workload import Setting, Workload

# Height and width of the map, by number of tokens: stride 16 at 224, 448 and
# 896 pixels, and strides 16, 8 and 4 at 800 x 1344.
TOKENS = {
    196: (14, 14),
    784: (28, 28),
    3136: (56, 56),
    4200: (50, 84),
    16800: (100, 168),
    67200: (200, 336),
}
GRID = (14, 14)  # on which position tables are trained
SWEEP = (
    'softmax',
    'softmax+interaction',
    'decomposed',
    'imhsa',
    'linear',
    'focused',
)
CORES = ('naive_core', 'focused_core', 'read_write')
NAMES = (*SWEEP, 'naive', *CORES)
QUADRATIC = ('softmax', 'softmax+interaction')
INTERACTING = ('softmax+interaction', 'imhsa')
# N x N matrices per head at the peak: logits, mixed logits, weights and mixed
# weights, and gradients of them.
MATRICES, MATRICES_TRAINED = 4, 7


class Core(nn.Module):
    """Attention alone, of Q, K and V that are given.

    Args:
        name: One of ``CORES``. ``read_write`` reads the inputs and writes the
            outputs, in the backward pass too, and computes next to nothing:
            the bound of memory's speed.
        dim: Channels of the tokens.
        num_heads: Number of heads.
    """

    def __init__(self, name: str, dim: int, num_heads: int) -> None:
        super().__init__()
        self.name = name
        self.num_heads = num_heads
        self.scale = nn.Parameter(torch.zeros(1, 1, dim))

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """``(B, N, C)`` each to ``(B, N, C)``."""
        if self.name == 'read_write':
            return torch.addcmul(query, key, value)
        attend = {
            'focused_core': focused_linear_attention,
            'naive_core': naive_attention,
        }[self.name]
        scale = F.softplus(self.scale)
        return attend(query, key, value, scale, self.num_heads)


def build_attention(name: str, dim: int, num_heads: int) -> nn.Module:
    """The attention of one block, with its projections, or a core.

    Raises:
        ValueError: If there is no such attention.
    """
    if name not in NAMES:
        raise ValueError(
            f'There is no attention {name!r}; choose from {", ".join(NAMES)}.'
        )
    if name in CORES:
        return Core(name, dim, num_heads)
    if name in ('softmax', 'softmax+interaction', 'decomposed', 'imhsa'):
        return InteractiveAttention(
            dim,
            num_heads,
            decomposed=name in ('decomposed', 'imhsa'),
            interaction='both' if name in INTERACTING else None,
        )
    if name == 'linear':
        return FocusedLinearAttention(
            dim, num_heads, GRID, focusing_factor=1, kernel_size=None
        )
    focused = FocusedLinearAttention(dim, num_heads, GRID)
    return focused if name == 'focused' else NaiveAttention(focused)


@dataclass(frozen=True)
class AttentionWork:
    """An attention on a map.

    Attributes:
        name: One of ``NAMES``.
        tokens: A key of ``TOKENS``.
        dim: Channels of the tokens.
        num_heads: Number of heads; divides ``dim``.
        setting: How it is run.
    """

    name: str
    tokens: int
    dim: int
    num_heads: int
    setting: Setting

    def build(self) -> Workload:
        """The attention and random tokens, the same every time."""
        torch.manual_seed(0)
        module = build_attention(self.name, self.dim, self.num_heads)
        is_core = self.name in CORES
        inputs = tuple(
            torch.randn(
                self.setting.batch,
                self.tokens,
                self.dim,
                requires_grad=self.setting.train,
            )
            for _ in range(3 if is_core else 1)
        )
        rest = () if is_core else (TOKENS[self.tokens],)
        return Workload(module, inputs, self.setting, rest)

    def expected_bytes(self) -> int:
        """What the N x N matrices will take, where they are made."""
        if self.name != 'softmax+interaction':
            return 0
        matrices = MATRICES_TRAINED if self.setting.train else MATRICES
        size = getattr(torch, self.setting.dtype).itemsize
        pairs = self.setting.batch * self.num_heads * self.tokens**2
        return pairs * matrices * size


def sweep(
    names: Sequence[str],
    tokens: Sequence[int],
    dim: int,
    num_heads: int,
    setting: Setting,
    rounds: int,
    max_bytes: float,
    max_seconds: float,
) -> list[Result]:
    """Measure attentions over rising numbers of tokens.

    Args:
        names: Which; the first is the baseline.
        tokens: Keys of ``TOKENS``.
        dim: Channels of the tokens.
        num_heads: Number of heads; divides ``dim``.
        setting: How they are run.
        rounds: Number of rounds that count; 0 measures memory alone.
        max_bytes: What would take more memory is left out.
        max_seconds: What would take longer for a pass, from the last number
            of tokens on, is left out.

    Returns:
        A result for each number of tokens.
    """
    results: list[Result] = []
    for number in sorted(tokens):
        works, notes = {}, {}
        for name in names:
            work = AttentionWork(name, number, dim, num_heads, setting)
            if work.expected_bytes() > max_bytes:
                notes[name] = f'over {max_bytes / 2**30:g} GiB'
            elif _expected_seconds(results, name, number) > max_seconds:
                notes[name] = f'over {max_seconds:g} s'
            else:
                works[name] = work
        height, width = TOKENS[number]
        result = compare(
            works,
            setting,
            f'{number} tokens ({height} x {width})',
            rounds,
            names[0],
        )
        measured = {row.name: row for row in result.rows}
        result.rows = [
            measured.get(name) or Row(name, note=notes[name]) for name in names
        ]
        result.tokens = number
        results.append(result)
    return results


def _expected_seconds(results: list[Result], name: str, tokens: int) -> float:
    """From the last time of an attention whose time grows with N x N."""
    if name not in QUADRATIC:
        return 0.0
    for result in reversed(results):
        for row in result.rows:
            if row.name == name and row.seconds and result.tokens:
                return row.median * (tokens / result.tokens) ** 2
            if row.name == name and row.note:
                return float('inf')
    return 0.0
