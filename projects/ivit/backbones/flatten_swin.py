# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""FLatten-Swin, arXiv 2308.00442.

Swin (arXiv 2103.14030) with focused linear attention over the whole map in
the early stages. Names of parameters are those of the authors' checkpoints.
"""

import re
from collections.abc import Sequence

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..attention import (
    FocusedLinearAttention,
    PointwiseLinear,
    merge_windows,
    split_windows,
    to_maps,
    window_attention,
)
from ..attention.tokens import check_heads
from ..checkpoints import register_official_loading
from .base import PyramidBackbone
from .flatten_layers import (
    FOCUSED,
    INIT_CFG,
    Block,
    PatchEmbed,
    block_kinds,
    focused_windows,
    pad_to_multiple,
    training_grids,
)


class WindowAttention(nn.Module):
    """Softmax attention in shifted windows, with relative position bias.

    Args:
        dim: Channels C of the tokens.
        num_heads: Number of heads; divides ``dim``.
        window: Height and width of a window.
        shift: Rows and columns by which windows are shifted.

    Raises:
        ValueError: If ``num_heads`` does not divide ``dim``.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window: tuple[int, int],
        shift: tuple[int, int],
    ) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.window = window
        self.shift = shift
        self.qkv = PointwiseLinear(dim, 3 * dim)
        self.proj = PointwiseLinear(dim, dim)
        height, width = window
        self.relative_position_bias_table = nn.Parameter(
            torch.zeros((2 * height - 1) * (2 * width - 1), num_heads)
        )
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer(
            'relative_position_index',
            relative_position_index(window),
            persistent=False,
        )

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """``(B, N, C)``, row-major over the map, to the same shape."""
        # One window across a side has nothing to be shifted against.
        shift = tuple(
            by if n > w else 0
            for n, w, by in zip(hw_shape, self.window, self.shift, strict=True)
        )
        query, key, value = (
            split_windows(part, hw_shape, self.window, shift)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        bias = self.relative_position_bias_table[self.relative_position_index]
        out = window_attention(
            query,
            key,
            value,
            self.num_heads,
            hw_shape,
            self.window,
            shift,
            bias.permute(2, 0, 1),
        )
        return self.proj(merge_windows(out, hw_shape, self.window, shift))


def relative_position_index(window: tuple[int, int]) -> Tensor:
    """Row of the bias table for every pair of tokens, ``(T, T)``."""
    rows, columns = torch.meshgrid(*map(torch.arange, window), indexing='ij')
    rows, columns = rows.flatten(), columns.flatten()
    down = rows[:, None] - rows + window[0] - 1
    right = columns[:, None] - columns + window[1] - 1
    return down * (2 * window[1] - 1) + right


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
        hw_shape = tuple(x.shape[1:3])
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
class FLattenSwin(PyramidBackbone):
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
        img_size: Height and width of the images that the position tables are
            trained on; the published models have 224 and 384.
        softmax_window: Side of the softmax windows; None for the published
            12 at ``img_size=384``, and 7 otherwise.
        window_size: Side of the tiles of focused attention in the first
            stage, halved from stage to stage; None attends over whole maps.
        focusing_factor: p of the focused function.
        kernel_size: Side of the kernel of DWC, odd.
        mlp_ratio: Hidden width of an MLP over its width.
        in_channels: Channels of the image.
        out_indices: Stages, 0 to 3, whose maps are returned. Stages behind
            the last of them are not built.
        norm_outputs: Whether each map goes through a LayerNorm of its own.
        drop_path_rate: Stochastic depth of the last block; rises linearly
            from 0 at the first.
        frozen_stages: -1 trains all, 0 freezes the patch embedding, i that
            and the first i stages.
        with_cp: Whether blocks are recomputed in the backward pass, to save
            memory; of some stages alone if these are listed, as in
            ``(0, 1)``, whose maps are the largest.
        init_cfg: Initialisation, such as ``dict(type='Pretrained',
            checkpoint='flatten_swin_t.pth')``.

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
        img_size: int = 224,
        softmax_window: int | None = None,
        window_size: int | None = None,
        focusing_factor: float = 3,
        kernel_size: int = 5,
        mlp_ratio: float = 4.0,
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        norm_outputs: bool = True,
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        with_cp: bool | Sequence[int] = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            arch,
            in_channels,
            out_indices,
            drop_path_rate,
            frozen_stages,
            with_cp,
            INIT_CFG if init_cfg is None else init_cfg,
        )
        dims = self.arch['dims']
        kinds = block_kinds(attn_type, self.arch['depths'], mixed=True)
        grids = training_grids(img_size)
        tiles = focused_windows(window_size, img_size)
        if softmax_window is None:
            softmax_window = 12 if img_size == 384 else 7
        self.norm_outputs = norm_outputs
        self.patch_embed = PatchEmbed(in_channels, dims[0], 4, 4)
        self.layers = nn.ModuleList()
        for i in range(self.num_built):
            side = softmax_side(softmax_window, grids[i][0], i, kinds[i])
            blocks = []
            for j, rate in enumerate(self._drop_paths(i)):
                if kinds[i][j] == FOCUSED:
                    attn = FocusedLinearAttention(
                        dims[i],
                        self.arch['num_heads'][i],
                        tiles[i] or grids[i],
                        focusing_factor,
                        kernel_size,
                        window_size=tiles[i],
                    )
                else:
                    shift = side // 2 if j % 2 and side < grids[i][0] else 0
                    attn = WindowAttention(
                        dims[i],
                        self.arch['num_heads'][i],
                        (side, side),
                        (shift, shift),
                    )
                blocks.append(Block(dims[i], attn, mlp_ratio, rate))
            downsample = (
                PatchMerging(dims[i], dims[i + 1])
                if i + 1 < self.num_built
                else None
            )
            self.layers.append(SwinStage(blocks, downsample))
        if norm_outputs:
            for i in self.out_indices:
                self.add_module(f'norm{i}', nn.LayerNorm(dims[i]))
        absent = range(self.num_built, 4)
        register_official_loading(
            self,
            [f'layers.{i}.' for i in absent]
            + [f'layers.{i - 1}.downsample.' for i in absent],
            output_norms=True,
        )
        # Before DDP and the optimizer ask which parameters are trained.
        self.train()

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
        for i, stage in enumerate(self.layers):
            for block in stage.blocks:
                x = self._run(i, block, x, hw_shape)
            if i in self.out_indices:
                out = x
                if self.norm_outputs:
                    out = self.get_submodule(f'norm{i}')(x)
                outs.append(to_maps(out, hw_shape))
            if stage.downsample is not None:
                x, hw_shape = stage.downsample(x, hw_shape)
        return tuple(outs)

    def _parts(self, stage: int) -> list[nn.Module]:
        return [self.patch_embed if stage < 0 else self.layers[stage]]

    def _locate(self, name: str) -> tuple[int, int] | None:
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
            f'softmax_window={window!r} must be an integer of at least 1.'
        )
    side = min(window, grid)
    if grid % side and set(kinds) != {FOCUSED}:
        raise ValueError(
            f'img_size={grid * 4 << stage} leaves a window uncovered: '
            f'windows of softmax_window={window} do not tile the {grid} x '
            f'{grid} map of stage {stage}. Choose a softmax_window that '
            'divides it.'
        )
    return side
