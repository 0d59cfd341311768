# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What the families of FLatten, arXiv 2308.00442, have in common.

The families differ in embedding, softmax attention and order of norms, so
each has a file of its own. Names of modules are those of the authors'
checkpoints.
"""

import re
from typing import Any, TypeVar

from torch import Tensor, nn

from ..attention import FocusedLinearAttentionBase, to_maps
from .base import STRIDES, PyramidBackbone

FOCUSED, SOFTMAX = 'L', 'S'
INIT_CFG = (
    dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0),
    dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0),
)
Focused = TypeVar('Focused', bound=FocusedLinearAttentionBase)


class FLattenBackbone(PyramidBackbone):
    """A pyramid with focused linear attention in some of its blocks.

    Args:
        arch: See :class:`PyramidBackbone`.
        attn_type: Attention of every stage, see :func:`block_kinds`.
        img_size: Height and width of the images that the position tables are
            trained on; the published models have 224, some also 384.
        tile_size: Side of the tiles of focused attention in the first stage,
            halved from stage to stage; None attends over whole maps.
        focusing_factor: p of the focused function.
        kernel_size: Side of the kernel of DWC, odd.

    Raises:
        ValueError: If an argument is out of its range.
    """

    default_init_cfg = INIT_CFG
    has_mixed_stages = True

    def __init__(
        self,
        arch: str | dict,
        attn_type: str,
        *,
        img_size: int = 224,
        tile_size: int | None = None,
        focusing_factor: float = 3,
        kernel_size: int = 5,
        **common: Any,
    ) -> None:
        super().__init__(arch, **common)
        self.kinds = block_kinds(
            attn_type, self.arch['depths'], self.has_mixed_stages
        )
        self.grid_sizes = training_grids(img_size)
        self.tile_sizes = tile_sizes(tile_size, img_size)
        self.focused_options: dict[str, Any] = dict(
            focusing_factor=focusing_factor, kernel_size=kernel_size
        )

    def build_focused(self, cls: type[Focused], stage: int) -> Focused:
        """Build the focused attention of a block of a stage.

        Args:
            cls: The family's form of it.
            stage: The stage, from 0.
        """
        tile_size = self.tile_sizes[stage]
        return cls(
            self.arch['dims'][stage],
            self.arch['num_heads'][stage],
            tile_size or self.grid_sizes[stage],
            tile_size=tile_size,
            **self.focused_options,
        )

    def add_output_norms(self) -> None:
        """Add a LayerNorm for the map of each of ``out_indices``."""
        for i in self.out_indices:
            self.add_module(f'norm{i}', nn.LayerNorm(self.arch['dims'][i]))

    def to_output(
        self, x: Tensor, stage: int, hw_shape: tuple[int, int]
    ) -> Tensor:
        """Tokens ``(B, N, C)`` to the stage's map, through its norm if any."""
        norm = getattr(self, f'norm{stage}', nn.Identity())
        return to_maps(norm(x), hw_shape)  # (B, C, H, W)


def block_kinds(
    attn_type: str, depths: tuple[int, ...], mixed: bool
) -> list[str]:
    """The kind of every block, as the authors write it.

    Args:
        attn_type: A letter for each stage: ``L`` focused linear attention,
            ``S`` the softmax attention of the original family, ``M`` mixed,
            with the number of focused blocks that go first at the end:
            ``'LLSS'``, ``'LLMS3'``.
        depths: Number of blocks of each stage.
        mixed: Whether the family has mixed stages.

    Returns:
        A string of ``L`` and ``S`` for each stage, one letter a block.

    Raises:
        ValueError: If ``attn_type`` is not of that form.
    """
    letters = 'LSM' if mixed else 'LS'
    match = re.fullmatch(
        rf'([{letters}]{{4}})(\d*)',
        attn_type if isinstance(attn_type, str) else '',
    )
    if not match or ('M' in match[1]) != bool(match[2]):
        example = (
            "; a stage 'M' is mixed, with the number of its first blocks "
            "that are 'L' at the end, as in 'LLMS3'"
            if mixed
            else ''
        )
        raise ValueError(
            f'attn_type={attn_type!r} must name the attention of four '
            f"stages, 'L' focused linear or 'S' softmax, as in 'LLSS'"
            f'{example}.'
        )
    kinds = []
    for letter, depth in zip(match[1], depths, strict=True):
        first = {'L': depth, 'S': 0, 'M': int(match[2] or 0)}[letter]
        if first > depth:
            raise ValueError(
                f'attn_type={attn_type!r} asks for {first} focused blocks in '
                f'a stage of {depth}.'
            )
        kinds.append(FOCUSED * first + SOFTMAX * (depth - first))
    return kinds


def training_grids(img_size: int) -> list[tuple[int, int]]:
    """Height and width of the four maps of a square training image.

    Raises:
        ValueError: If ``img_size`` is not a positive multiple of 32.
    """
    if not isinstance(img_size, int) or img_size < 1 or img_size % 32:
        raise ValueError(
            f'img_size={img_size!r} must be a positive multiple of 32, the '
            'size of the images that the weights are (or were) trained on: '
            'position tables cover whole maps. Images of any size go in.'
        )
    return [(img_size // stride,) * 2 for stride in STRIDES]


def tile_sizes(
    tile_size: int | None, img_size: int
) -> list[tuple[int, int] | None]:
    """The tiles of the focused stages, from their side in the first stage.

    Tiles cover the same pixels in every stage: 56 gives 56, 28, 14 and 7.

    Raises:
        ValueError: If ``tile_size`` is not a positive multiple of 8, or a
            training image is not a whole number of tiles.
    """
    if tile_size is None:
        return [None] * 4
    if not isinstance(tile_size, int) or tile_size < 1 or tile_size % 8:
        raise ValueError(
            f'tile_size={tile_size!r} must be None, for attention over '
            'the whole map, or a positive multiple of 8: the side of a tile '
            'in the first stage, halved from stage to stage.'
        )
    if img_size // 4 % tile_size:
        raise ValueError(
            f'img_size={img_size} leaves a tile uncovered: its map of '
            f'{img_size // 4} x {img_size // 4} in the first stage is not a '
            f'whole number of tiles of tile_size={tile_size}.'
        )
    return [(tile_size >> stage,) * 2 for stage in range(4)]
