# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""FLatten-CSwin, arXiv 2308.00442.

CSwin (arXiv 2107.00652) with focused linear attention over the whole map in
the early stages. Names of parameters are those of the authors' checkpoints.
"""

import re
from collections.abc import Sequence

from mmengine.registry import MODELS
from torch import Tensor, nn

from ..attention import to_maps
from ..checkpoints import register_official_loading
from .base import PyramidBackbone
from .flatten_cswin_blocks import (
    ConvEmbed,
    CSwinBlock,
    FocusedBranch,
    Merge,
    StripeBranch,
)
from .flatten_layers import (
    FOCUSED,
    INIT_CFG,
    block_kinds,
    focused_windows,
    training_grids,
)


@MODELS.register_module()
class FLattenCSwin(PyramidBackbone):
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
        img_size: Height and width of the images that the position tables are
            trained on; the published models have 224 and 384.
        split_sizes: Width of the softmax stripes of every stage; None for
            the published (1, 2, 12, 12) at ``img_size=384``, and
            (1, 2, 7, 7) otherwise. Where a stripe covers the training grid,
            and always in the last stage, softmax is over the whole map.
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
        frozen_stages: -1 trains all, 0 freezes the stem, i the stem and the
            first i stages, with the merging in front of each.
        with_cp: Whether blocks are recomputed in the backward pass, to save
            memory; of some stages alone if these are listed, as in
            ``(0, 1)``, whose maps are the largest.
        init_cfg: Initialisation, such as ``dict(type='Pretrained',
            checkpoint='flatten_cswin_t.pth')``.

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
        img_size: int = 224,
        split_sizes: Sequence[int] | None = None,
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
        dims, num_heads = self.arch['dims'], self.arch['num_heads']
        kinds = block_kinds(attn_type, self.arch['depths'], mixed=True)
        grids = training_grids(img_size)
        tiles = focused_windows(window_size, img_size)
        if split_sizes is None:
            split_sizes = (1, 2, 12, 12) if img_size == 384 else (1, 2, 7, 7)
        self.norm_outputs = norm_outputs
        self.stage1_conv_embed = ConvEmbed(in_channels, dims[0])
        for i in range(self.num_built):
            if i > 0:
                self.add_module(f'merge{i}', Merge(dims[i - 1], dims[i]))
            stripes = softmax_stripes(split_sizes, grids[i][0], i, kinds[i])
            blocks = nn.ModuleList()
            for kind, rate in zip(kinds[i], self._drop_paths(i), strict=True):
                if kind == FOCUSED:
                    branches = [
                        FocusedBranch(
                            dims[i],
                            num_heads[i],
                            tiles[i] or grids[i],
                            focusing_factor,
                            kernel_size,
                            tiles[i],
                        )
                    ]
                else:
                    check_branches(dims[i], num_heads[i], len(stripes))
                    branches = [
                        StripeBranch(
                            dims[i] // len(stripes),
                            num_heads[i] // len(stripes),
                            stripe,
                        )
                        for stripe in stripes
                    ]
                blocks.append(CSwinBlock(dims[i], branches, mlp_ratio, rate))
            self.add_module(f'stage{i + 1}', blocks)
        if norm_outputs:
            for i in self.out_indices:
                self.add_module(f'norm{i}', nn.LayerNorm(dims[i]))
        absent = range(self.num_built, 4)
        register_official_loading(
            self,
            [f'stage{i + 1}.' for i in absent]
            + [f'merge{i}.' for i in absent],
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
        x, hw_shape = self.stage1_conv_embed(x)
        outs = []
        for i in range(self.num_built):
            if i > 0:
                x, hw_shape = self.get_submodule(f'merge{i}')(x, hw_shape)
            for block in self.get_submodule(f'stage{i + 1}'):
                x = self._run(i, block, x, hw_shape)
            if i in self.out_indices:
                out = x
                if self.norm_outputs:
                    out = self.get_submodule(f'norm{i}')(x)
                outs.append(to_maps(out, hw_shape))
        return tuple(outs)

    def _parts(self, stage: int) -> list[nn.Module]:
        if stage < 0:
            return [self.stage1_conv_embed]
        names = [f'merge{stage}'] * (stage > 0) + [f'stage{stage + 1}']
        return [self.get_submodule(name) for name in names]

    def _locate(self, name: str) -> tuple[int, int] | None:
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
