# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""FLatten-PVT, arXiv 2308.00442.

PVT (arXiv 2102.12122) with focused linear attention over the whole map in
place of attention with spatial reduction. Names of parameters are those of
the authors' checkpoints, which number the stages from 1.
"""

import re
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..attention import (
    FocusedLinearAttentionPVT,
    PointwiseLinear,
    ResizedTable,
    to_maps,
)
from ..attention.tokens import check_heads, merge_heads, split_heads
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

SR_RATIOS = (8, 4, 2, 1)
# Of all published models but the smallest and the largest of PVTv2.
WIDTHS = dict(
    dims=(64, 128, 320, 512),
    num_heads=(1, 2, 5, 8),
    mlp_ratios=(8, 8, 4, 4),
)


class SpatialReductionAttention(nn.Module):
    """Softmax attention to cells of r x r tokens (PVT, Eq. 1 to 4).

    A map that cells do not tile is padded with zeros at the bottom and the
    right; every cell holds at least one token of the map.

    Args:
        dim: Channels C of the tokens.
        num_heads: Number of heads; divides ``dim``.
        sr_ratio: Side r of a cell; 1 attends to all tokens.

    Raises:
        ValueError: If ``num_heads`` does not divide ``dim``.
    """

    def __init__(self, dim: int, num_heads: int, sr_ratio: int) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.q = PointwiseLinear(dim, dim)
        self.kv = PointwiseLinear(dim, 2 * dim)
        self.proj = PointwiseLinear(dim, dim)
        self.sr = None
        if sr_ratio > 1:
            self.sr = nn.Conv2d(dim, dim, sr_ratio, sr_ratio)
            self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """``(B, N, C)``, row-major over the map, to the same shape."""
        cells = x
        if self.sr is not None:
            maps = pad_to_multiple(to_maps(x, hw_shape), self.sr.stride[0])
            cells = self.norm(self.sr(maps).flatten(2).transpose(1, 2))
        query, key, value = (
            split_heads(part, self.num_heads)
            for part in (self.q(x), *self.kv(cells).chunk(2, dim=-1))
        )
        out = F.scaled_dot_product_attention(query, key, value)
        return self.proj(merge_heads(out))


@MODELS.register_module()
class FLattenPVT(PyramidBackbone):
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
        img_size: Height and width of the images that the position tables are
            trained on; the published models have 224.
        window_size: Side of the tiles of focused attention in the first
            stage, halved from stage to stage; None attends over whole maps.
        focusing_factor: p of the focused function.
        kernel_size: Side of the kernel of DWC, odd.
        in_channels: Channels of the image.
        out_indices: Stages, 0 to 3, whose maps are returned. Stages behind
            the last of them are not built.
        drop_path_rate: Stochastic depth of the last block; rises linearly
            from 0 at the first.
        frozen_stages: -1 trains all, 0 freezes the first patch embedding, i
            that and the first i stages.
        with_cp: Whether blocks are recomputed in the backward pass, to save
            memory; of some stages alone if these are listed, as in
            ``(0, 1)``, whose maps are the largest.
        init_cfg: Initialisation, such as ``dict(type='Pretrained',
            checkpoint='flatten_pvt_t.pth')``.

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
    patch_kernels = (4, 2, 2, 2)
    conv_mlp = False

    def __init__(
        self,
        arch: str | dict,
        attn_type: str = 'LLLL',
        img_size: int = 224,
        window_size: int | None = None,
        focusing_factor: float = 3,
        kernel_size: int = 5,
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
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
        kinds = block_kinds(attn_type, self.arch['depths'], mixed=False)
        self.grid_sizes = training_grids(img_size)
        tiles = focused_windows(window_size, img_size)
        self._resized: list[ResizedTable] = []
        for i in range(self.num_built):
            embed = PatchEmbed(
                dims[i - 1] if i else in_channels,
                dims[i],
                self.patch_kernels[i],
                2 if i else 4,
            )
            blocks = nn.ModuleList()
            for kind, rate in zip(kinds[i], self._drop_paths(i), strict=True):
                if kind == FOCUSED:
                    attn = FocusedLinearAttentionPVT(
                        dims[i],
                        self.arch['num_heads'][i],
                        tiles[i] or self.grid_sizes[i],
                        focusing_factor,
                        kernel_size,
                        window_size=tiles[i],
                    )
                else:
                    attn = SpatialReductionAttention(
                        dims[i], self.arch['num_heads'][i], SR_RATIOS[i]
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
            self._add_own(i)
        register_official_loading(
            self,
            [
                f'{part}{i + 1}'
                for part in ('patch_embed', 'pos_embed', 'block', 'norm')
                for i in range(self.num_built, 4)
            ],
        )
        # Before DDP and the optimizer ask which parameters are trained.
        self.train()

    def _add_own(self, stage: int) -> None:
        """Add what a stage has beside its patch embedding and blocks."""
        height, width = self.grid_sizes[stage]
        table = torch.empty(1, height * width, self.arch['dims'][stage])
        nn.init.trunc_normal_(table, std=0.02)
        self.register_parameter(f'pos_embed{stage + 1}', nn.Parameter(table))
        self._resized.append(ResizedTable())

    def _enter(
        self, x: Tensor, stage: int, hw_shape: tuple[int, int]
    ) -> Tensor:
        """What a stage does to tokens ``(B, N, C)`` before its blocks."""
        table = self.get_parameter(f'pos_embed{stage + 1}')
        return x + self._resized[stage](
            table, self.grid_sizes[stage], hw_shape
        )

    def _leave(self, x: Tensor, stage: int) -> Tensor:
        """What a stage does to tokens ``(B, N, C)`` after its blocks."""
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
            x = self._enter(x, i, hw_shape)
            for block in self.get_submodule(f'block{i + 1}'):
                x = self._run(i, block, x, hw_shape)
            x = to_maps(self._leave(x, i), hw_shape)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def _parts(self, stage: int) -> list[nn.Module | nn.Parameter]:
        embeds, rest = ['patch_embed', 'pos_embed'], ['block', 'norm']
        kinds = embeds if stage < 0 else embeds + rest if stage else rest
        names = [f'{kind}{max(stage, 0) + 1}' for kind in kinds]
        return [getattr(self, name) for name in names if hasattr(self, name)]

    def train(self, mode: bool = True) -> 'FLattenPVT':
        """Set the mode; frozen stages stay in evaluation mode."""
        for resized in self._resized:
            resized.clear()
        return super().train(mode)

    def _locate(self, name: str) -> tuple[int, int] | None:
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
