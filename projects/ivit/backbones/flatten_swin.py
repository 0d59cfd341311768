# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""FLatten-Swin, arXiv 2308.00442.

Swin (arXiv 2103.14030) with focused linear attention over the whole map in
the early stages. Names of parameters are those of the authors' checkpoints.
"""

import re
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn

from ..attention import FocusedLinearAttention, WindowAttention, to_maps
from ..attention.window import pad_to_multiple
from ..checkpoints import register_official_loading
from .flatten import FOCUSED, FLattenBackbone
from .layers import Block, PatchEmbed


class PatchMerging(nn.Module):
    """Four neighbours to one token of twice the width.

    Args:
        dim: Channels C of the tokens.
        out_dim: Channels of the merged tokens.
    """

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, out_dim, bias=False)

    def forward(
        self, x: Tensor, hw_shape: tuple[int, int]
    ) -> tuple[Tensor, tuple[int, int]]:
        """``(B, N, C)`` to ``(B, N / 4, out_dim)`` and the map's new size."""
        maps = pad_to_multiple(to_maps(x, hw_shape), 2)
        x = maps.permute(0, 2, 3, 1)
        x = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
        # In a patch the row changes first: (B, H/2, W/2, column, row, C).
        x = x.permute(0, 1, 3, 4, 2, 5).flatten(3)
        hw_shape = (x.shape[1], x.shape[2])
        return self.reduction(self.norm(x.flatten(1, 2))), hw_shape


class SwinStage(nn.Module):
    """The blocks of a stage and, between stages, the merging after them."""

    def __init__(
        self, blocks: list[Block], downsample: PatchMerging | None
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample


@MODELS.register_module()
class FLattenSwin(FLattenBackbone):
    """Swin with focused linear attention, at strides 4, 8, 16 and 32.

    Any image of at least 1 x 1 goes in; the map of stride s has
    ceil(H / s) x ceil(W / s) cells. Loads the authors' checkpoints as they
    are (docs/flatten.md).

    Args:
        arch: Name of a row of ``arch_settings``, or a dict with the keys
            ``dims``, ``depths`` and ``num_heads``, four numbers each.
        attn_type: Attention of every stage: ``L`` focused linear, ``S``
            shifted windows, ``M`` mixed, as in ``'LLMS3'``, whose third
            stage has three focused blocks first.
        window_size: Side of the softmax windows; None for the published 12
            at ``img_size=384``, and 7 otherwise.
        mlp_ratio: Hidden width of an MLP over its width.
        norm_outputs: Whether each map goes through a LayerNorm of its own.

    Raises:
        ValueError: If an argument is out of its range, or a checkpoint of
            another arch or family is loaded.

    Example:
        >>> backbone = FLattenSwin('t')
        >>> [tuple(m.shape) for m in backbone(torch.rand(1, 3, 100, 60))]
        [(1, 96, 25, 15), (1, 192, 13, 8), (1, 384, 7, 4), (1, 768, 4, 2)]
    """

    arch_settings = {
        'n': dict(
            dims=(24, 48, 96, 128),
            depths=(2, 2, 2, 1),
            num_heads=(1, 2, 3, 4),
        ),
        't': dict(
            dims=(96, 192, 384, 768),
            depths=(2, 2, 6, 2),
            num_heads=(3, 6, 12, 24),
        ),
        's': dict(
            dims=(96, 192, 384, 768),
            depths=(2, 2, 18, 2),
            num_heads=(3, 6, 12, 24),
        ),
        'b': dict(
            dims=(128, 256, 512, 1024),
            depths=(2, 2, 18, 2),
            num_heads=(4, 8, 16, 32),
        ),
    }

    def __init__(
        self,
        arch: str | dict = 't',
        attn_type: str = 'LLSS',
        *,
        window_size: int | None = None,
        mlp_ratio: float = 4.0,
        norm_outputs: bool = True,
        **common: Any,
    ) -> None:
        super().__init__(arch, attn_type, **common)
        dims, num_heads = self.arch['dims'], self.arch['num_heads']
        if window_size is None:
            window_size = 12 if self.grid_sizes[0] == (96, 96) else 7
        self.patch_embed = PatchEmbed(self.in_channels, dims[0], 4, 4)
        self.layers = nn.ModuleList()
        for i in range(self.num_built):
            grid = self.grid_sizes[i][0]
            side = softmax_side(window_size, grid, i, self.kinds[i])
            blocks = []
            for j, rate in enumerate(self._drop_paths(i)):
                attn: nn.Module
                if self.kinds[i][j] == FOCUSED:
                    attn = self.build_focused(FocusedLinearAttention, i)
                else:
                    shift = side // 2 if j % 2 and side < grid else 0
                    attn = WindowAttention(
                        dims[i], num_heads[i], (side, side), (shift, shift)
                    )
                blocks.append(Block(dims[i], attn, mlp_ratio, rate))
            downsample = (
                PatchMerging(dims[i], dims[i + 1])
                if i + 1 < self.num_built
                else None
            )
            self.layers.append(SwinStage(blocks, downsample))
        if norm_outputs:
            self.add_output_norms()
        absent = range(self.num_built, 4)
        register_official_loading(
            self,
            [f'layers.{i}.' for i in absent]
            + [f'layers.{i - 1}.downsample.' for i in absent],
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
        x, hw_shape = self.patch_embed(x)
        outs = []
        for i in range(self.num_built):
            for block in self.get_submodule(f'layers.{i}.blocks'):
                x = self._run(i, block, x, hw_shape)
            if i in self.out_indices:
                outs.append(self.to_output(x, i, hw_shape))
            if i + 1 < self.num_built:
                downsample = self.get_submodule(f'layers.{i}.downsample')
                x, hw_shape = downsample(x, hw_shape)
        return tuple(outs)

    def modules_of(self, unit: int) -> list[nn.Module]:
        """See :class:`Backbone`."""
        return [self.patch_embed if unit < 0 else self.layers[unit]]

    def stage_and_block(self, name: str) -> tuple[int, int] | None:
        """See :class:`Backbone`."""
        if name.startswith('patch_embed.'):
            return 0, -1
        match = re.match(r'layers\.(\d)\.(?:blocks\.(\d+)|downsample)', name)
        if not match:
            return None
        if match[2] is None:  # merging goes with the block it feeds
            return int(match[1]) + 1, 0
        return int(match[1]), int(match[2])


def softmax_side(window: int, grid: int, stage: int, kinds: str) -> int:
    """Side of the softmax windows of a stage, at most its training grid.

    Raises:
        ValueError: If the windows do not tile the training grid.
    """
    if not isinstance(window, int) or window < 1:
        raise ValueError(
            f'window_size={window!r} must be an integer of at least 1.'
        )
    side = min(window, grid)
    if grid % side and set(kinds) != {FOCUSED}:
        raise ValueError(
            f'img_size={grid * 4 << stage} leaves a window uncovered: '
            f'windows of window_size={window} do not tile the {grid} x '
            f'{grid} map of stage {stage}. Choose a window_size that '
            'divides it.'
        )
    return side
