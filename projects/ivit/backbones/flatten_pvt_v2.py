# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""FLatten-PVTv2, arXiv 2308.00442.

PVTv2 (arXiv 2106.13797) with focused linear attention over the whole map in
place of attention with spatial reduction. Names of parameters are those of
the authors' checkpoints, which number the stages from 1.
"""

from math import sqrt

from mmengine.registry import MODELS
from torch import Tensor, nn

from .flatten_pvt import WIDTHS, FLattenPVT


@MODELS.register_module()
class FLattenPVTv2(FLattenPVT):
    """PVTv2 with focused linear attention, at strides 4, 8, 16 and 32.

    What differs from PVT: patches overlap, MLPs have a depthwise convolution,
    which takes the place of the position tables of stages, and every stage
    ends with a norm, also before the next, so all maps are normalised.

    Arguments, errors and sizes are those of :class:`FLattenPVT`; the names of
    ``arch`` are ``'b0'`` to ``'b5'``, and ``'n'``.

    Example:
        >>> backbone = FLattenPVTv2('b0')
        >>> [tuple(m.shape) for m in backbone(torch.rand(1, 3, 100, 60))]
        [(1, 32, 25, 15), (1, 64, 13, 8), (1, 160, 7, 4), (1, 256, 4, 2)]
    """

    arch_settings = {
        'n': FLattenPVT.arch_settings['n'],
        'b0': dict(WIDTHS, dims=(32, 64, 160, 256), depths=(2, 2, 2, 2)),
        'b1': dict(WIDTHS, depths=(2, 2, 2, 2)),
        'b2': dict(WIDTHS, depths=(3, 4, 6, 3)),
        'b3': dict(WIDTHS, depths=(3, 4, 18, 3)),
        'b4': dict(WIDTHS, depths=(3, 8, 27, 3)),
        'b5': dict(WIDTHS, depths=(3, 6, 40, 3), mlp_ratios=(4, 4, 4, 4)),
    }
    patch_kernels = (7, 3, 3, 3)
    conv_mlp = True

    def add_position_or_norm(self, stage: int) -> None:
        """Add the norm of a stage, and initialise its convolutions."""
        norm = nn.LayerNorm(self.arch['dims'][stage], eps=1e-6)
        self.add_module(f'norm{stage + 1}', norm)
        # mmengine's Kaiming initialisation does not take groups into account.
        for name in ('patch_embed', 'block'):
            for module in self.get_submodule(f'{name}{stage + 1}').modules():
                if isinstance(module, nn.Conv2d):
                    init_conv(module)

    def before_blocks(
        self, x: Tensor, stage: int, hw_shape: tuple[int, int]
    ) -> Tensor:
        """Tokens ``(B, N, C)`` as they are: positions come from MLPs."""
        return x

    def after_blocks(self, x: Tensor, stage: int) -> Tensor:
        """Tokens ``(B, N, C)`` through the norm of the stage."""
        return self.get_submodule(f'norm{stage + 1}')(x)


def init_conv(conv: nn.Conv2d) -> None:
    """Normal weights of variance 2 / fan_out (arXiv 1502.01852), bias 0."""
    height, width = conv.kernel_size
    fan_out = height * width * conv.out_channels // conv.groups
    nn.init.normal_(conv.weight, 0.0, sqrt(2 / fan_out))
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
