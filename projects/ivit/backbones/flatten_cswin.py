# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""FLatten-CSwin, arXiv 2308.00442.

CSwin (arXiv 2107.00652) with focused linear attention over the whole map in
the early stages. Names of parameters are those of the authors' checkpoints.
"""

import re
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn.bricks import DropPath
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..attention import (
    FocusedLinearAttentionCSwin,
    PointwiseLinear,
    StripeAttention,
    to_maps,
)
from ..attention.precision import linear_in_float32, no_autocast
from ..attention.window import pad_to_multiple
from ..checkpoints import register_official_loading
from .flatten import FOCUSED, FLattenBackbone
from .layers import Mlp


class CSwinBlock(nn.Module):
    """Attention in one or two branches and MLP, norms before, residuals.

    Args:
        dim: Channels C of the tokens.
        branches: Modules of Q, K and V, each ``(B, N, C / len(branches))``,
            and the size of their map.
        mlp_ratio: Hidden width of the MLP over C.
        drop_path: Probability of dropping a residual branch for a sample.
    """

    def __init__(
        self,
        dim: int,
        branches: list[nn.Module],
        mlp_ratio: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.qkv = PointwiseLinear(dim, 3 * dim)
        self.attns = nn.ModuleList(branches)
        self.proj = PointwiseLinear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def _attend(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Project ``(B, N, C)``, attend in the branches, project again."""
        if isinstance(self.attns[0], FocusedLinearAttentionCSwin):
            # One branch, in float32 as focused attention is everywhere.
            with no_autocast(x):
                qkv = linear_in_float32(self.qkv, x).chunk(3, dim=-1)
                out = self.attns[0](*qkv, hw_shape)
                return linear_in_float32(self.proj, out).to(x.dtype)
        # Every branch has its share of the channels of Q, K and V.
        query, key, value = (
            part.chunk(len(self.attns), dim=-1)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        outs = [
            attn(query[i], key[i], value[i], hw_shape)
            for i, attn in enumerate(self.attns)
        ]
        return self.proj(torch.cat(outs, dim=-1))

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """``(B, N, C)``, row-major over the map, to the same shape."""
        x = x + self.drop_path(self._attend(self.norm1(x), hw_shape))
        return x + self.drop_path(self.mlp(self.norm2(x), hw_shape))


class ConvEmbed(nn.ModuleDict):
    """The stem: overlapping patches of an image padded to whole strides.

    Its parts have their published names, the places in a sequence.

    Args:
        in_channels: Channels of the image.
        dim: Channels of the tokens.
    """

    def __init__(self, in_channels: int, dim: int) -> None:
        conv = nn.Conv2d(in_channels, dim, 7, stride=4, padding=2)
        super().__init__({'0': conv, '2': nn.LayerNorm(dim)})

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """``(B, in_channels, H, W)`` to ``(B, N, dim)`` and its map's size."""
        maps = self['0'](pad_to_multiple(x, 4))
        return self['2'](maps.flatten(2).transpose(1, 2)), maps.shape[2:]


class Merge(nn.Module):
    """Overlapping convolution to half the map, and a norm.

    Args:
        dim: Channels of the tokens.
        out_dim: Channels of the merged tokens.
    """

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, out_dim, 3, stride=2, padding=1)
        self.norm = nn.LayerNorm(out_dim)

    def forward(
        self, x: Tensor, hw_shape: tuple[int, int]
    ) -> tuple[Tensor, tuple[int, int]]:
        """``(B, N, C)`` to ``(B, N / 4, out_dim)`` and the map's new size."""
        maps = self.conv(to_maps(x, hw_shape))
        return self.norm(maps.flatten(2).transpose(1, 2)), maps.shape[2:]


@MODELS.register_module()
class FLattenCSwin(FLattenBackbone):
    """CSwin with focused linear attention, at strides 4, 8, 16 and 32.

    Any image of at least 1 x 1 goes in; the map of stride s has
    ceil(H / s) x ceil(W / s) cells. Loads the authors' checkpoints as they
    are (docs/flatten.md).

    Args:
        arch: Name of a row of ``arch_settings``, or a dict with the keys
            ``dims``, ``depths`` and ``num_heads``, four numbers each.
        attn_type: Attention of every stage: ``L`` focused linear, ``S``
            cross-shaped softmax, ``M`` mixed, as in ``'LLMS3'``, whose third
            stage has three focused blocks first.
        split_sizes: Width of the softmax stripes of every stage; None for
            the published (1, 2, 12, 12) at ``img_size=384``, and
            (1, 2, 7, 7) otherwise. Where a stripe covers the training grid,
            and always in the last stage, softmax is over the whole map.
        mlp_ratio: Hidden width of an MLP over its width.
        norm_outputs: Whether each map goes through a LayerNorm of its own.

    Raises:
        ValueError: If an argument is out of its range, or a checkpoint of
            another arch or family is loaded.

    Example:
        >>> backbone = FLattenCSwin('t')
        >>> [tuple(m.shape) for m in backbone(torch.rand(1, 3, 100, 60))]
        [(1, 64, 25, 15), (1, 128, 13, 8), (1, 256, 7, 4), (1, 512, 4, 2)]
    """

    arch_settings = {
        'n': dict(
            dims=(32, 64, 128, 128),
            depths=(1, 2, 2, 1),
            num_heads=(2, 2, 4, 4),
        ),
        't': dict(
            dims=(64, 128, 256, 512),
            depths=(2, 4, 18, 1),
            num_heads=(2, 4, 8, 16),
        ),
        's': dict(
            dims=(64, 128, 256, 512),
            depths=(2, 4, 32, 2),
            num_heads=(2, 4, 8, 16),
        ),
        'b': dict(
            dims=(96, 192, 384, 768),
            depths=(3, 6, 29, 2),
            num_heads=(4, 8, 16, 32),
        ),
    }

    def __init__(
        self,
        arch: str | dict = 't',
        attn_type: str = 'LLSS',
        *,
        split_sizes: Sequence[int] | None = None,
        mlp_ratio: float = 4.0,
        norm_outputs: bool = True,
        **common: Any,
    ) -> None:
        super().__init__(arch, attn_type, **common)
        dims, num_heads = self.arch['dims'], self.arch['num_heads']
        if split_sizes is None:
            width = 12 if self.grid_sizes[0] == (96, 96) else 7
            split_sizes = (1, 2, width, width)
        self.stage1_conv_embed = ConvEmbed(self.in_channels, dims[0])
        for i in range(self.num_built):
            if i > 0:
                self.add_module(f'merge{i}', Merge(dims[i - 1], dims[i]))
            grid, kinds = self.grid_sizes[i][0], self.kinds[i]
            stripes = softmax_stripes(split_sizes, grid, i, kinds)
            blocks = nn.ModuleList()
            for kind, rate in zip(kinds, self._drop_paths(i), strict=True):
                branches: list[nn.Module]
                if kind == FOCUSED:
                    branches = [
                        self.build_focused(FocusedLinearAttentionCSwin, i)
                    ]
                else:
                    check_branches(dims[i], num_heads[i], len(stripes))
                    branches = [
                        StripeAttention(
                            dims[i] // len(stripes),
                            num_heads[i] // len(stripes),
                            stripe,
                        )
                        for stripe in stripes
                    ]
                blocks.append(CSwinBlock(dims[i], branches, mlp_ratio, rate))
            self.add_module(f'stage{i + 1}', blocks)
        if norm_outputs:
            self.add_output_norms()
        absent = range(self.num_built, 4)
        register_official_loading(
            self,
            [f'stage{i + 1}.' for i in absent]
            + [f'merge{i}.' for i in absent],
            output_norms=True,
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps of the stages in ``out_indices``.

        Args:
            x: Images ``(B, in_channels, H, W)``, normalised.

        Returns:
            One map ``(B, C_i, ceil(H / s_i), ceil(W / s_i))`` for each of
            ``out_indices``, s_i = 4, 8, 16, 32.

        Raises:
            ValueError: If ``x`` is not of that shape.
        """
        self._check_input(x)
        x, hw_shape = self.stage1_conv_embed(x)
        outs = []
        for i in range(self.num_built):
            if i > 0:
                x, hw_shape = self.get_submodule(f'merge{i}')(x, hw_shape)
            for block in self.get_submodule(f'stage{i + 1}'):
                x = self._run(i, block, x, hw_shape)
            if i in self.out_indices:
                outs.append(self.to_output(x, i, hw_shape))
        return tuple(outs)

    def modules_of(self, unit: int) -> list[nn.Module]:
        """See :class:`Backbone`."""
        if unit < 0:
            return [self.stage1_conv_embed]
        names = [f'merge{unit}'] * (unit > 0) + [f'stage{unit + 1}']
        return [self.get_submodule(name) for name in names]

    def stage_and_block(self, name: str) -> tuple[int, int] | None:
        """See :class:`Backbone`."""
        if name.startswith('stage1_conv_embed.'):
            return 0, -1
        if match := re.match(r'stage(\d)\.(\d+)\.', name):
            return int(match[1]) - 1, int(match[2])
        if match := re.match(r'merge(\d)\.', name):
            return int(match[1]), 0  # with the block it feeds
        return None


def softmax_stripes(
    split_sizes: Sequence[int], grid: int, stage: int, kinds: str
) -> list[tuple[int | None, int | None]]:
    """The stripes of each softmax branch of a stage, None for a whole side.

    Raises:
        ValueError: If the stripes do not tile the training grid.
    """
    if (
        not isinstance(split_sizes, Sequence)
        or len(split_sizes) != 4
        or not all(isinstance(n, int) and n > 0 for n in split_sizes)
    ):
        raise ValueError(
            f'split_sizes={split_sizes!r} must be four integers of at least '
            '1, the width of the stripes of each stage.'
        )
    split = split_sizes[stage]
    if stage == 3 or split >= grid:
        return [(None, None)]
    if grid % split and set(kinds) != {FOCUSED}:
        raise ValueError(
            f'img_size={grid * 4 << stage} leaves a window uncovered: stripes '
            f'of split_sizes[{stage}]={split} do not tile the {grid} x {grid} '
            f'map of stage {stage}. Choose a width that divides it.'
        )
    return [(None, split), (split, None)]


def check_branches(dim: int, num_heads: int, branches: int) -> None:
    """Raise a ``ValueError`` if branches cannot share heads and channels."""
    if num_heads % branches or dim % num_heads:
        raise ValueError(
            f'num_heads={num_heads} must divide dim={dim} and be a multiple '
            f'of {branches}, the number of branches of a softmax block.'
        )
