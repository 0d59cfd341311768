# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Plain vision transformers with the attention chosen by config.

ViT (arXiv 2010.11929) at the sizes of DeiT (arXiv 2012.12877), on which the
papers compare attentions: softmax, interactive (arXiv 2402.17507) or focused
linear (arXiv 2308.00442, FLatten-DeiT). No class token, which is ours:
interactive and focused attention work on maps. A classifier averages the map.
Names of parameters are those of DeiT.
"""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..attention import (
    FocusedLinearAttention,
    InteractiveAttention,
    ResizedTable,
    to_maps,
)
from ..checkpoints import register_strict_loading
from ..checkpoints.tables import fit_tables
from .base import Backbone, parse_arch
from .flatten import INIT_CFG
from .layers import Block, PatchEmbed

PATCH = 16
# The options that a config may give to each.
ATTENTIONS = dict(
    softmax=(),
    interactive=('landmarks', 'decomposed', 'interaction'),
    focused=('focusing_factor', 'kernel_size'),
)


def build_attention(
    attention: str | Mapping[str, Any],
    dim: int,
    num_heads: int,
    grid_size: tuple[int, int],
) -> nn.Module:
    """An attention over maps, from its name or a dict with its options.

    Args:
        attention: A key of ``ATTENTIONS``, or a dict with that as ``type``
            and options of the attention beside it.
        dim: Channels of the tokens.
        num_heads: Number of heads; divides ``dim``.
        grid_size: Height and width of the training grid.

    Raises:
        ValueError: If the name or an option is unknown, or out of its range.
    """
    options = dict(attention) if isinstance(attention, Mapping) else {}
    kind = options.pop('type', None) if options else attention
    if not isinstance(kind, str) or kind not in ATTENTIONS:
        raise ValueError(
            f'attention={attention!r} must be one of {sorted(ATTENTIONS)}, or '
            'a dict with that as its type.'
        )
    unknown = sorted(set(options) - set(ATTENTIONS[kind]))
    if unknown:
        raise ValueError(
            f'attention={attention!r} has the unknown options {unknown}; '
            f'{kind} attention takes {list(ATTENTIONS[kind])}.'
        )
    if kind == 'focused':
        return FocusedLinearAttention(dim, num_heads, grid_size, **options)
    if kind == 'softmax':
        options = dict(decomposed=False, interaction=None)
    return InteractiveAttention(dim, num_heads, **options)


@MODELS.register_module()
class PlainViT(Backbone):
    """A transformer whose maps all have stride 16.

    Any image of at least 1 x 1 goes in; its maps have ceil(H / 16) x
    ceil(W / 16) cells. Dense prediction needs a pyramid, such as mmseg's
    ``Feature2Pyramid`` (docs/ivit.md).

    Args:
        arch: Name of a row of ``arch_settings``, or a dict with the keys
            ``dim``, ``depth`` and ``num_heads``.
        attention: ``'softmax'``, ``'interactive'`` or ``'focused'``, or a
            dict with that as ``type`` and options beside it, such as
            ``dict(type='interactive', landmarks=(4, 4))``, or
            ``dict(type='focused', focusing_factor=1, kernel_size=None)`` for
            plain linear attention. None is softmax, focused in
            :class:`FLattenDeiT`.
        img_size: Height and width of the images that the position tables are
            trained on, a multiple of 16.
        mlp_ratio: Hidden width of an MLP over its width.

    Of the blocks in ``out_indices`` the last goes through the final norm, the
    others are raw.

    Raises:
        ValueError: If an argument is out of its range, or a checkpoint of
            another arch or attention is loaded.

    Example:
        >>> backbone = PlainViT('t', 'interactive')
        >>> [tuple(m.shape) for m in backbone(torch.rand(1, 3, 100, 60))]
        [(1, 192, 7, 4)]
    """

    arch_settings = {
        'n': dict(dim=64, depth=4, num_heads=2),
        't': dict(dim=192, depth=12, num_heads=3),
        's': dict(dim=384, depth=12, num_heads=6),
        'b': dict(dim=768, depth=12, num_heads=12),
    }
    default_attention = 'softmax'
    default_init_cfg = INIT_CFG

    def __init__(
        self,
        arch: str | dict = 't',
        attention: str | dict | None = None,
        *,
        img_size: int = 224,
        mlp_ratio: float = 4.0,
        **common: Any,
    ) -> None:
        settings = parse_arch(arch, self.arch_settings)
        dim, depth = settings['dim'], settings['depth']
        super().__init__((depth,), 'blocks', **common)
        self.arch = settings
        if not isinstance(img_size, int) or img_size < 1 or img_size % PATCH:
            raise ValueError(
                f'img_size={img_size!r} must be a positive multiple of '
                f'{PATCH}, the side of a patch; images of other sizes can go '
                'in all the same.'
            )
        if attention is None:
            attention = self.default_attention
        self.grid_size = (img_size // PATCH,) * 2
        self.patch_embed = PatchEmbed(self.in_channels, dim, PATCH, PATCH)
        self.patch_embed.norm = nn.Identity()  # ViT has none here
        cells = self.grid_size[0] * self.grid_size[1]
        self.pos_embed = nn.Parameter(torch.empty(1, cells, dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self._resized = ResizedTable()
        self.blocks = nn.ModuleList(
            Block(
                dim,
                build_attention(
                    attention, dim, self.arch['num_heads'], self.grid_size
                ),
                mlp_ratio,
                rate,
                eps=1e-6,
            )
            for rate in self._drop_paths(0)[: self.num_built]
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self._register_load_state_dict_pre_hook(_fit_tables, with_module=True)
        absent = '|'.join(map(str, range(self.num_built, depth)))
        register_strict_loading(
            self,
            may_be_missing=r'(?!)',  # nothing
            may_be_left_over=rf'head\.|blocks\.({absent})\.',
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps of the blocks in ``out_indices``.

        Args:
            x: Images ``(B, in_channels, H, W)``, normalised.

        Returns:
            One map ``(B, C, ceil(H / 16), ceil(W / 16))`` for each of
            ``out_indices``.

        Raises:
            ValueError: If ``x`` is not of that shape.
        """
        self._check_input(x)
        x, hw_shape = self.patch_embed(x)
        x = x + self._resized(self.pos_embed, self.grid_size, hw_shape)
        outs = []
        for i, block in enumerate(self.blocks):
            x = self._run(i, block, x, hw_shape)
            if i in self.out_indices:
                is_last = i == self.out_indices[-1]
                outs.append(to_maps(self.norm(x) if is_last else x, hw_shape))
        return tuple(outs)

    def train(self, mode: bool = True) -> 'PlainViT':
        """Set the mode; what is frozen stays in evaluation mode."""
        self._resized.clear()
        return super().train(mode)

    def channels_and_stride(self, unit: int) -> tuple[int, int]:
        """See :class:`Backbone`."""
        return self.arch['dim'], PATCH

    def modules_of(self, unit: int) -> list[nn.Module | nn.Parameter]:
        """See :class:`Backbone`."""
        if unit < 0:
            return [self.patch_embed, self.pos_embed]
        return [self.blocks[unit]]

    def stage_and_block(self, name: str) -> tuple[int, int] | None:
        """See :class:`Backbone`."""
        if name.startswith('blocks.'):
            return 0, int(name.split('.')[1])
        if name.startswith(('patch_embed.', 'pos_embed')):
            return 0, -1
        return None


@MODELS.register_module()
class FLattenDeiT(PlainViT):
    """:class:`PlainViT` with focused linear attention, arXiv 2308.00442.

    The paper's FLatten-DeiT-T is ``FLattenDeiT('t')``. The authors published
    neither its code nor its weights.
    """

    default_attention = 'focused'


def _fit_tables(
    backbone: PlainViT, state_dict: dict[str, Any], prefix: str, *_: Any
) -> None:
    """Resize the position tables of a checkpoint to those of the backbone."""
    given = {
        name.removeprefix(prefix): value
        for name, value in state_dict.items()
        if name.startswith(prefix)
    }
    fitted, resized = fit_tables(given, backbone.state_dict())
    for name in resized:
        state_dict[prefix + name] = fitted[name]
