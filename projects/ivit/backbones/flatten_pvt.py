# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""FLatten-PVT, arXiv 2308.00442.

PVT (arXiv 2102.12122) with focused linear attention over the whole map in
place of attention with spatial reduction. Names of parameters are those of
the authors' checkpoints, which number the stages from 1.
"""

import re
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..attention import (
    FocusedLinearAttentionPVT,
    ResizedTable,
    SpatialReductionAttention,
    to_maps,
)
from ..checkpoints import register_official_loading
from .flatten import FOCUSED, FLattenBackbone
from .layers import Block, PatchEmbed

SR_RATIOS = (8, 4, 2, 1)
# All published models but the smallest and the largest of PVTv2 have these.
WIDTHS = dict(
    dims=(64, 128, 320, 512),
    num_heads=(1, 2, 5, 8),
    mlp_ratios=(8, 8, 4, 4),
)


@MODELS.register_module()
class FLattenPVT(FLattenBackbone):
    """PVT with focused linear attention, at strides 4, 8, 16 and 32.

    Any image of at least 1 x 1 goes in; the map of stride s has
    ceil(H / s) x ceil(W / s) cells. The maps are those of the last blocks, as
    PVT has no norm after them. Loads the authors' checkpoints as they are
    (docs/flatten.md).

    Args:
        arch: Name of a row of ``arch_settings``, or a dict with the keys
            ``dims``, ``depths``, ``num_heads`` and ``mlp_ratios`` (hidden
            width of an MLP over its width), four numbers each.
        attn_type: Attention of every stage: ``L`` focused linear, ``S``
            PVT's with spatial reduction, as in ``'LLSS'``.

    Raises:
        ValueError: If an argument is out of its range, or a checkpoint of
            another arch or family is loaded.

    Example:
        >>> backbone = FLattenPVT('t')
        >>> [tuple(m.shape) for m in backbone(torch.rand(1, 3, 100, 60))]
        [(1, 64, 25, 15), (1, 128, 13, 8), (1, 320, 7, 4), (1, 512, 4, 2)]
    """

    arch_settings = {
        'n': dict(
            dims=(32, 64, 96, 128),
            depths=(2, 2, 2, 1),
            num_heads=(1, 2, 3, 4),
            mlp_ratios=(4, 4, 4, 4),
        ),
        't': dict(WIDTHS, depths=(2, 2, 2, 2)),
        's': dict(WIDTHS, depths=(3, 4, 6, 3)),
        'm': dict(WIDTHS, depths=(3, 4, 18, 3)),
        'b': dict(WIDTHS, depths=(3, 8, 27, 3)),
    }
    has_mixed_stages = False
    patch_kernels = (4, 2, 2, 2)
    conv_mlp = False

    def __init__(
        self, arch: str | dict, attn_type: str = 'LLLL', **common: Any
    ) -> None:
        super().__init__(arch, attn_type, **common)
        dims, num_heads = self.arch['dims'], self.arch['num_heads']
        self._resized: list[ResizedTable] = []
        for i in range(self.num_built):
            embed = PatchEmbed(
                dims[i - 1] if i else self.in_channels,
                dims[i],
                self.patch_kernels[i],
                2 if i else 4,
            )
            blocks = nn.ModuleList()
            for kind, rate in zip(
                self.kinds[i], self._drop_paths(i), strict=True
            ):
                attn: nn.Module
                if kind == FOCUSED:
                    attn = self.build_focused(FocusedLinearAttentionPVT, i)
                else:
                    attn = SpatialReductionAttention(
                        dims[i], num_heads[i], SR_RATIOS[i]
                    )
                blocks.append(
                    Block(
                        dims[i],
                        attn,
                        self.arch['mlp_ratios'][i],
                        rate,
                        eps=1e-6,
                        conv_mlp=self.conv_mlp,
                    )
                )
            self.add_module(f'patch_embed{i + 1}', embed)
            self.add_module(f'block{i + 1}', blocks)
            self.add_position_or_norm(i)
        register_official_loading(
            self,
            [
                f'{part}{i + 1}'
                for part in ('patch_embed', 'pos_embed', 'block', 'norm')
                for i in range(self.num_built, 4)
            ],
        )

    def add_position_or_norm(self, stage: int) -> None:
        """Add the position table of a stage; in PVTv2, its norm."""
        height, width = self.grid_sizes[stage]
        table = torch.empty(1, height * width, self.arch['dims'][stage])
        nn.init.trunc_normal_(table, std=0.02)
        self.register_parameter(f'pos_embed{stage + 1}', nn.Parameter(table))
        self._resized.append(ResizedTable())

    def before_blocks(
        self, x: Tensor, stage: int, hw_shape: tuple[int, int]
    ) -> Tensor:
        """Add the position table to tokens ``(B, N, C)``."""
        table = self.get_parameter(f'pos_embed{stage + 1}')
        return x + self._resized[stage](
            table, self.grid_sizes[stage], hw_shape
        )

    def after_blocks(self, x: Tensor, stage: int) -> Tensor:
        """Tokens ``(B, N, C)`` as they are; in PVTv2, through the norm."""
        return x

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
        outs = []
        for i in range(self.num_built):
            x, hw_shape = self.get_submodule(f'patch_embed{i + 1}')(x)
            x = self.before_blocks(x, i, hw_shape)
            for block in self.get_submodule(f'block{i + 1}'):
                x = self._run(i, block, x, hw_shape)
            x = to_maps(self.after_blocks(x, i), hw_shape)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def modules_of(self, unit: int) -> list[nn.Module | nn.Parameter]:
        """See :class:`Backbone`."""
        embeds, rest = ['patch_embed', 'pos_embed'], ['block', 'norm']
        # The stem is the embedding of the first stage.
        kinds = embeds if unit < 0 else embeds + rest if unit else rest
        names = [f'{kind}{max(unit, 0) + 1}' for kind in kinds]
        return [getattr(self, name) for name in names if hasattr(self, name)]

    def train(self, mode: bool = True) -> 'FLattenPVT':
        """Set the mode; frozen stages stay in evaluation mode."""
        for resized in self._resized:
            resized.clear()
        return super().train(mode)

    def stage_and_block(self, name: str) -> tuple[int, int] | None:
        """See :class:`Backbone`."""
        match = re.match(
            r'(patch_embed|pos_embed|block|norm)(\d)(?:\.(\d+))?', name
        )
        if not match:
            return None
        kind, stage = match[1], int(match[2]) - 1
        if kind == 'block':
            return stage, int(match[3])
        if kind == 'norm':  # also the input of the next stage
            return stage, self.arch['depths'][stage] - 1
        return stage, 0 if stage else -1
