# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""iViT, a hierarchical CNN-transformer backbone on iMHSA.

After arXiv 2402.17507. The paper's table of widths and depths could not be
had, so the layout below is this project's own: docs/ivit.md says what is the
paper's, what is ours, and what was measured to choose it.
"""

import logging
from collections.abc import Sequence

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..checkpoints import register_strict_loading
from .ivit_blocks import AttentionBlock, ConvBlock, conv_bn
from .recompute import recompute


@MODELS.register_module()
class IViT(BaseModule):
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
        in_channels: Channels of the image.
        out_indices: Stages, 0 to 3, whose maps are returned. Stages behind
            the last of them are not built.
        drop_path_rate: Stochastic depth of the last block; rises linearly
            from 0 at the first.
        frozen_stages: -1 trains all, 0 freezes the stem, i the stem and the
            first i stages.
        norm_eval: Whether batch norms stay in evaluation mode. For
            fine-tuning with small batches; needs pre-trained weights.
        with_cp: Whether blocks are recomputed in the backward pass, to save
            memory.
        norm_cfg: Norm of the convolutions; ``SyncBN`` to share statistics
            between processes.
        init_cfg: Initialisation, such as ``dict(type='Pretrained',
            checkpoint=..., prefix='backbone.')``.

    Raises:
        ValueError: If an argument is out of its range, or a checkpoint of
            another arch is loaded.

    Example:
        >>> backbone = IViT('t')
        >>> [tuple(m.shape) for m in backbone(torch.rand(1, 3, 100, 60))]
        [(1, 48, 25, 15), (1, 96, 13, 8), (1, 224, 7, 4), (1, 384, 4, 2)]
    """

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
        blocks: Sequence[str] = ('conv', 'conv', 'attention', 'attention'),
        landmarks: tuple[int, int] = (7, 7),
        decomposed: bool = True,
        interaction: str | None = 'both',
        mlp_ratio: float = 4.0,
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = [
                dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0),
                dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0),
                dict(type='Kaiming', layer='Conv2d'),
            ]
        super().__init__(init_cfg)
        self.arch = self._parse_arch(arch)
        dims, depths, num_heads = (
            self.arch[key] for key in ('dims', 'depths', 'num_heads')
        )
        if len(blocks) != 4 or set(blocks) - {'conv', 'attention'}:
            raise ValueError(
                f"blocks={blocks!r} must be four of 'conv' and "
                "'attention', one for each stage."
            )
        if not (
            isinstance(out_indices, Sequence)
            and out_indices
            and set(out_indices) <= set(range(4))
            and list(out_indices) == sorted(set(out_indices))
        ):
            raise ValueError(
                f'out_indices={out_indices!r} must name stages from 0 to 3, '
                'in rising order.'
            )
        num_stages = max(out_indices) + 1
        if frozen_stages not in range(-1, num_stages + 1):
            raise ValueError(
                f'frozen_stages={frozen_stages} must be from -1 (nothing '
                f'frozen) to {num_stages} (all stages of this backbone).'
            )
        if not 0 <= drop_path_rate < 1:
            raise ValueError(
                f'drop_path_rate={drop_path_rate} must be in [0, 1).'
            )
        if in_channels < 1 or mlp_ratio <= 0:
            raise ValueError(
                f'in_channels={in_channels} and mlp_ratio={mlp_ratio} must '
                'be positive.'
            )
        self.in_channels = in_channels
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        norm_cfg = dict(type='BN') if norm_cfg is None else norm_cfg

        self.stem = nn.Sequential(
            conv_bn(in_channels, dims[0] // 2, norm_cfg, stride=2),
            conv_bn(dims[0] // 2, dims[0], norm_cfg, stride=2),
        )
        rates = torch.linspace(0, drop_path_rate, sum(depths)).tolist()
        self.stages = nn.ModuleList()
        for i in range(num_stages):
            stage = nn.Sequential()
            if i > 0:
                stage.append(conv_bn(dims[i - 1], dims[i], norm_cfg, stride=2))
            for rate in rates[sum(depths[:i]) : sum(depths[: i + 1])]:
                stage.append(
                    ConvBlock(dims[i], rate, norm_cfg)
                    if blocks[i] == 'conv'
                    else AttentionBlock(
                        dims[i],
                        num_heads[i],
                        rate,
                        mlp_ratio,
                        landmarks,
                        decomposed,
                        interaction,
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
            may_be_left_over=rf'norm\d\.|stages\.[{num_stages}-9]\.|head\.',
        )
        # Before DDP and the optimizer ask which parameters are trained.
        self.train()

    @classmethod
    def _parse_arch(cls, arch: str | dict) -> dict[str, tuple[int, ...]]:
        if isinstance(arch, str):
            if arch not in cls.arch_settings:
                raise ValueError(
                    f'arch={arch!r} is unknown; choose one of '
                    f'{sorted(cls.arch_settings)}, or pass a dict.'
                )
            return cls.arch_settings[arch]
        keys = set(cls.arch_settings['s'])
        if not isinstance(arch, dict) or set(arch) != keys:
            raise ValueError(
                f'arch={arch!r} must be a name or a dict with exactly the '
                f'keys {sorted(keys)}.'
            )
        for key, values in arch.items():
            least = 2 if key == 'dims' else 1  # the stem has half of dims[0]
            if not (
                isinstance(values, Sequence)
                and len(values) == 4
                and all(isinstance(n, int) and n >= least for n in values)
            ):
                raise ValueError(
                    f'arch[{key!r}]={values!r} must be four integers of at '
                    f'least {least}, one for each stage.'
                )
        return {key: tuple(values) for key, values in arch.items()}

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
        if x.dim() != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f'The input has shape {tuple(x.shape)}; it must be (B, '
                f'{self.in_channels}, H, W). For images of other channels '
                'build the backbone with in_channels=....'
            )
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        outs = []
        for i, stage in enumerate(self.stages):
            for block in stage:
                if self.with_cp and x.requires_grad:
                    x = recompute(block, x)
                else:
                    x = block(x)
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

    def train(self, mode: bool = True) -> 'IViT':
        """Set the mode; frozen stages and norms stay in evaluation mode."""
        super().train(mode)
        frozen = [self.stem, *self.stages][: self.frozen_stages + 1]
        for module in frozen:
            module.eval().requires_grad_(False)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def get_layer_depth(
        self, param_name: str, prefix: str = ''
    ) -> tuple[int, int]:
        """Depth of a parameter, for layer-wise learning-rate decay.

        Args:
            param_name: Name of the parameter in the whole model.
            prefix: Prefix of the backbone's parameters in that name.

        Returns:
            The layer's depth and the number of layers: 0 for the stem, one
            for each block (downsampling goes with the block it feeds), the
            last for output norms and everything outside the backbone.
        """
        depths = self.arch['depths']
        num_layers = sum(depths) + 2
        name = param_name.removeprefix(prefix)
        if param_name.startswith(prefix) and name.startswith('stem.'):
            return 0, num_layers
        if not (param_name.startswith(prefix) and name.startswith('stages.')):
            return num_layers - 1, num_layers
        _, stage, block, *_ = name.split('.')
        i, j = int(stage), int(block)
        # Index 0 of every stage but the first is the downsampling.
        j = j if i == 0 else max(j - 1, 0)
        return 1 + sum(depths[:i]) + j, num_layers
