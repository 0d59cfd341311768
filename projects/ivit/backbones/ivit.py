# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""iViT, a hierarchical CNN-transformer backbone on iMHSA.

After arXiv 2402.17507. The paper's table of widths and depths could not be
had, so the layout below is this project's own: docs/ivit.md says what is the
paper's, what is ours, and what was measured to choose it.
"""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks import DropPath
from mmengine.logging import print_log
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..attention import InteractiveAttention, PointwiseLinear, to_maps
from ..checkpoints import register_strict_loading
from .base import PyramidBackbone


def conv_bn(
    in_channels: int,
    out_channels: int,
    norm_cfg: dict,
    stride: int = 1,
    act: bool = True,
) -> ConvModule:
    """3 x 3 convolution, batch norm and, if ``act``, GELU."""
    return ConvModule(
        in_channels,
        out_channels,
        kernel_size=3,
        stride=stride,
        padding=1,
        norm_cfg=norm_cfg,
        act_cfg=dict(type='GELU') if act else None,
    )


class ConvBlock(nn.Module):
    """Residual block of two dense 3 x 3 convolutions.

    Args:
        dim: Channels C.
        drop_path: Probability of dropping the block for a sample.
        norm_cfg: Norm after each convolution.
    """

    def __init__(self, dim: int, drop_path: float, norm_cfg: dict) -> None:
        super().__init__()
        self.conv1 = conv_bn(dim, dim, norm_cfg)
        self.conv2 = conv_bn(dim, dim, norm_cfg, act=False)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        return x + self.drop_path(self.conv2(self.conv1(x)))


class AttentionBlock(nn.Module):
    """Position convolution, iMHSA and MLP, each with a residual.

    Args:
        dim: Channels C.
        num_heads: Number of heads.
        drop_path: Probability of dropping a branch for a sample.
        mlp_ratio: Hidden width of the MLP over C.
        **attention: Options of :class:`~ivit.attention.InteractiveAttention`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        drop_path: float,
        mlp_ratio: float,
        **attention: Any,
    ) -> None:
        super().__init__()
        self.pos = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = InteractiveAttention(dim, num_heads, **attention)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        hidden = int(dim * mlp_ratio)
        self.mlp = nn.Sequential(
            PointwiseLinear(dim, hidden),
            nn.GELU(),
            PointwiseLinear(hidden, dim),
        )
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        hw_shape = (x.shape[2], x.shape[3])
        x = x + self.pos(x)
        # Channels last: tokens and map are two views of one memory.
        x = x.flatten(2).transpose(1, 2)
        x = x + self.drop_path(self.attn(self.norm1(x), hw_shape))
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return to_maps(x, hw_shape)


@MODELS.register_module()
class IViT(PyramidBackbone):
    """Interactive vision transformer with maps at strides 4, 8, 16 and 32.

    Any image of at least 1 x 1 goes in, without padding; the map of stride s
    has ceil(H / s) x ceil(W / s) cells.

    Args:
        arch: Name of a row of ``arch_settings``, or a dict with the keys
            ``dims``, ``depths`` and ``num_heads``, four numbers each: the
            width, number of blocks and heads of every stage.
        blocks: Kind of block in every stage, ``'conv'`` or ``'attention'``.
        landmarks: Rows and columns of the landmark grid of iMHSA.
        decomposed: Whether attention is decomposed (linear in tokens).
        interaction: Where heads interact: ``'pre'`` the softmax, ``'post'``
            it, ``'both'``, or None.
        mlp_ratio: Hidden width of an attention block's MLP over its width.
        norm_eval: Whether batch norms stay in evaluation mode. For
            fine-tuning with small batches; needs pre-trained weights.
        norm_cfg: Norm of the convolutions; ``SyncBN`` to share statistics
            between processes.

    Raises:
        ValueError: If an argument is out of its range, or a checkpoint of
            another arch is loaded.

    Example:
        >>> backbone = IViT('t')
        >>> [tuple(m.shape) for m in backbone(torch.rand(1, 3, 100, 60))]
        [(1, 48, 25, 15), (1, 96, 13, 8), (1, 224, 7, 4), (1, 384, 4, 2)]
    """

    min_width = 2  # the stem begins with half of it
    default_init_cfg = (
        dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0),
        dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0),
        dict(type='Kaiming', layer='Conv2d'),
    )
    arch_settings = {
        'n': dict(
            dims=(24, 48, 96, 128),
            depths=(2, 2, 3, 1),
            num_heads=(1, 2, 3, 4),
        ),
        't': dict(
            dims=(48, 96, 224, 384),
            depths=(1, 2, 5, 3),
            num_heads=(3, 3, 7, 12),
        ),
        's': dict(
            dims=(64, 128, 320, 512),
            depths=(2, 2, 8, 4),
            num_heads=(2, 4, 10, 16),
        ),
        'b': dict(
            dims=(96, 192, 384, 640),
            depths=(2, 2, 12, 5),
            num_heads=(3, 6, 12, 20),
        ),
    }

    def __init__(
        self,
        arch: str | dict = 's',
        *,
        blocks: Sequence[str] = ('conv', 'conv', 'attention', 'attention'),
        landmarks: tuple[int, int] = (7, 7),
        decomposed: bool = True,
        interaction: str | None = 'both',
        mlp_ratio: float = 4.0,
        norm_eval: bool = False,
        norm_cfg: dict | None = None,
        **common: Any,
    ) -> None:
        super().__init__(arch, **common)
        dims, num_heads = self.arch['dims'], self.arch['num_heads']
        if len(blocks) != 4 or set(blocks) - {'conv', 'attention'}:
            raise ValueError(
                f"blocks={blocks!r} must be four of 'conv' and "
                "'attention', one for each stage."
            )
        if mlp_ratio <= 0:
            raise ValueError(f'mlp_ratio={mlp_ratio} must be positive.')
        self.norm_eval = norm_eval
        norm_cfg = dict(type='BN') if norm_cfg is None else norm_cfg

        self.stem = nn.Sequential(
            conv_bn(self.in_channels, dims[0] // 2, norm_cfg, stride=2),
            conv_bn(dims[0] // 2, dims[0], norm_cfg, stride=2),
        )
        self.stages = nn.ModuleList()
        for i in range(self.num_built):
            stage = nn.Sequential()
            if i > 0:
                stage.append(conv_bn(dims[i - 1], dims[i], norm_cfg, stride=2))
            for rate in self._drop_paths(i):
                stage.append(
                    ConvBlock(dims[i], rate, norm_cfg)
                    if blocks[i] == 'conv'
                    else AttentionBlock(
                        dims[i],
                        num_heads[i],
                        rate,
                        mlp_ratio,
                        landmarks=landmarks,
                        decomposed=decomposed,
                        interaction=interaction,
                    )
                )
            self.stages.append(stage)
        # Only those used: DDP stops at parameters without a gradient.
        for i in self.out_indices:
            self.add_module(f'norm{i}', nn.LayerNorm(dims[i], eps=1e-6))

        # A classifier has one output norm, a detector four.
        register_strict_loading(
            self,
            may_be_missing=r'norm\d\.',
            may_be_left_over=(
                rf'norm\d\.|stages\.[{self.num_built}-9]\.|head\.'
            ),
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
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        outs = []
        for i, stage in enumerate(self.stages):
            for block in stage.children():
                x = self._run(i, block, x)
            if i in self.out_indices:
                norm = self.get_submodule(f'norm{i}')
                outs.append(norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        return tuple(outs)

    def init_weights(self) -> None:
        """Initialise or load the weights, as ``init_cfg`` says."""
        super().init_weights()
        cfgs = self.init_cfg or []
        cfgs = [cfgs] if isinstance(cfgs, dict) else cfgs
        pretrained = any(cfg['type'] == 'Pretrained' for cfg in cfgs)
        if self.norm_eval and not pretrained:
            print_log(
                'norm_eval=True without a Pretrained init_cfg: batch norms '
                'stay at their initial statistics unless load_from or resume '
                'brings others. To train from scratch set norm_eval=False.',
                logger='current',
                level=logging.WARNING,
            )

    def modules_of(self, unit: int) -> list[nn.Module]:
        """See :class:`Backbone`."""
        return [self.stem if unit < 0 else self.stages[unit]]

    def train(self, mode: bool = True) -> 'IViT':
        """Set the mode; frozen stages and norms stay in evaluation mode."""
        super().train(mode)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def stage_and_block(self, name: str) -> tuple[int, int] | None:
        """See :class:`Backbone`."""
        if name.startswith('stem.'):
            return 0, -1
        if not name.startswith('stages.'):
            return None
        stage, block = map(int, name.split('.')[1:3])
        # Index 0 of every stage but the first is the downsampling.
        return stage, block if stage == 0 else max(block - 1, 0)
