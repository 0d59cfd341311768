# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What all backbones of the package have in common."""

from abc import ABCMeta
from collections.abc import Sequence
from typing import Any, ClassVar

from mmengine.model import BaseModule
from torch import Tensor, nn

from .arguments import show_inherited_arguments
from .feature_info import FeatureInfo
from .recompute import recompute

STRIDES = (4, 8, 16, 32)  # of a pyramid's maps


class FrozenWhenBuilt(ABCMeta):
    """Freezes the stages of a backbone as soon as its constructor is done.

    DDP and the optimizer look at ``requires_grad`` before anything sets the
    mode of the model.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Build a backbone and set it to training mode."""
        backbone = super().__call__(*args, **kwargs)
        backbone.train()
        return backbone


class Backbone(BaseModule, metaclass=FrozenWhenBuilt):
    """Arguments, freezing, recomputation and layer depths of any backbone.

    A subclass fills ``arch_settings``, builds its modules up to ``num_built``
    and says what belongs where (:meth:`modules_of`, :meth:`stage_and_block`)
    and what its maps are like (:meth:`channels_and_stride`). Constructors of
    subclasses pass ``**common`` on to this one.

    Args:
        depths: Number of blocks of each stage.
        units: What ``out_indices`` and ``frozen_stages`` count, ``'stages'``
            or ``'blocks'``.
        in_channels: Channels of the image.
        out_indices: Stages whose maps are returned, from 0, or blocks of a
            plain transformer; None for all stages, or the last block. What
            lies behind the last of them is not built.
        drop_path_rate: Stochastic depth of the last block; rises linearly
            from 0 at the first.
        frozen_stages: -1 trains everything, 0 freezes the stem (embedding
            of patches, position table), i the stem and the first i stages,
            or blocks of a plain transformer.
        with_cp: Whether blocks are recomputed in the backward pass, to save
            memory; of some stages alone if these are listed, as in
            ``(0, 1)``, whose maps are the largest.
        init_cfg: mmengine's initialisation, such as
            ``dict(type='Pretrained', checkpoint='file.pth')``; None for the
            family's own.

    Raises:
        ValueError: If an argument is out of its range.
    """

    arch_settings: ClassVar[dict[str, dict[str, Any]]]
    default_init_cfg: ClassVar[Sequence[dict]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        show_inherited_arguments(cls, Backbone)

    def __init__(
        self,
        depths: tuple[int, ...],
        units: str,
        *,
        in_channels: int = 3,
        out_indices: Sequence[int] | None = None,
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        with_cp: bool | Sequence[int] = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = [dict(cfg) for cfg in self.default_init_cfg]
        super().__init__(init_cfg)
        count = len(depths) if units == 'stages' else sum(depths)
        if out_indices is None:
            out_indices = range(0 if units == 'stages' else count - 1, count)
        if not (
            isinstance(out_indices, Sequence)
            and out_indices
            and set(out_indices) <= set(range(count))
            and list(out_indices) == sorted(set(out_indices))
        ):
            raise ValueError(
                f'out_indices={out_indices!r} must name {units} from 0 to '
                f'{count - 1}, in rising order.'
            )
        self.num_built = max(out_indices) + 1
        if frozen_stages not in range(-1, self.num_built + 1):
            raise ValueError(
                f'frozen_stages={frozen_stages} must be from -1 (nothing '
                f'frozen) to {self.num_built} (all {units} of this backbone).'
            )
        if not 0 <= drop_path_rate < 1:
            raise ValueError(
                f'drop_path_rate={drop_path_rate} must be in [0, 1).'
            )
        if in_channels < 1:
            raise ValueError(f'in_channels={in_channels} must be positive.')
        if not isinstance(with_cp, bool) and not (
            isinstance(with_cp, Sequence)
            and all(unit in range(count) for unit in with_cp)
        ):
            raise ValueError(
                f'with_cp={with_cp!r} must be True, False or a sequence of '
                f'{units} from 0 to {count - 1}, such as (0, 1).'
            )
        self.depths = depths
        self.in_channels = in_channels
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.recomputed = range(count) if with_cp is True else with_cp or ()
        self.drop_path_rate = drop_path_rate

    def _drop_paths(self, stage: int) -> list[float]:
        """The drop probability of each block of a stage."""
        last = max(sum(self.depths) - 1, 1)
        first = sum(self.depths[:stage])
        return [
            self.drop_path_rate * (first + j) / last
            for j in range(self.depths[stage])
        ]

    def _check_input(self, x: Tensor) -> None:
        if x.dim() != 4 or x.shape[1] != self.in_channels or 0 in x.shape[2:]:
            raise ValueError(
                f'The input has shape {tuple(x.shape)}; it must be (B, '
                f'{self.in_channels}, H, W), at least 1 x 1. For images of '
                'other channels build the backbone with in_channels=....'
            )

    def _run(
        self, unit: int, block: nn.Module, x: Tensor, *args: object
    ) -> Tensor:
        """Return ``block(x, *args)``, recomputed in backward if asked."""
        if unit in self.recomputed and x.requires_grad:
            return recompute(block, x, *args)
        return block(x, *args)

    @property
    def feature_info(self) -> FeatureInfo:
        """Channels and strides of the maps that ``forward`` returns."""
        return FeatureInfo(
            tuple(map(self.channels_and_stride, self.out_indices))
        )

    def channels_and_stride(self, unit: int) -> tuple[int, int]:
        """Channels and stride of the map of a stage or block."""
        raise NotImplementedError

    def modules_of(self, unit: int) -> Sequence[nn.Module | nn.Parameter]:
        """What is frozen with a stage or block, or with the stem, -1."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> 'Backbone':
        """Set the mode; frozen stages stay in evaluation mode."""
        super().train(mode)
        for unit in range(-1, self.frozen_stages):
            for part in self.modules_of(unit):
                part.requires_grad_(False)
                if isinstance(part, nn.Module):
                    part.eval()
        return self

    def stage_and_block(self, name: str) -> tuple[int, int] | None:
        """Where a parameter belongs.

        Args:
            name: Name of the parameter in the backbone.

        Returns:
            Its stage and its block in there; block -1 of stage 0 for the
            stem; None for an output norm.
        """
        raise NotImplementedError

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
        num_layers = sum(self.depths) + 2
        place = None
        if param_name.startswith(prefix):
            place = self.stage_and_block(param_name.removeprefix(prefix))
        if place is None:
            return num_layers - 1, num_layers
        stage, block = place
        return 1 + sum(self.depths[:stage]) + block, num_layers


class PyramidBackbone(Backbone):
    """Four stages with maps at strides 4, 8, 16 and 32.

    Args:
        arch: Name of a row of ``arch_settings``, or a dict with its keys,
            four positive integers each.

    Raises:
        ValueError: If an argument is out of its range.
    """

    min_width = 1

    def __init__(self, arch: str | dict, **common: Any) -> None:
        row = parse_arch(arch, self.arch_settings, self.min_width)
        super().__init__(row['depths'], 'stages', **common)
        self.arch = row

    def channels_and_stride(self, unit: int) -> tuple[int, int]:
        """See :class:`Backbone`."""
        return self.arch['dims'][unit], STRIDES[unit]


def parse_arch(
    arch: str | dict, settings: dict[str, dict[str, Any]], min_width: int = 1
) -> dict[str, Any]:
    """The settings of an architecture.

    Args:
        arch: Name of a row of ``settings``, or a dict with its keys.
        settings: Rows by their names. A value is a positive integer, or one
            for each of four stages.
        min_width: The least that ``dims`` may be.

    Returns:
        The row.

    Raises:
        ValueError: If the name is unknown, or the dict does not have the form
            of a row.
    """
    if isinstance(arch, str):
        if arch not in settings:
            raise ValueError(
                f'arch={arch!r} is unknown; choose one of {sorted(settings)}, '
                'or pass a dict.'
            )
        return settings[arch]
    example = next(iter(settings.values()))
    if not isinstance(arch, dict) or set(arch) != set(example):
        raise ValueError(
            f'arch={arch!r} must be a name or a dict with exactly the keys '
            f'{sorted(example)}.'
        )
    row = {}
    for key, values in arch.items():
        least = min_width if key == 'dims' else 1
        per_stage = isinstance(example[key], tuple)
        if per_stage:
            fits = isinstance(values, Sequence) and len(values) == 4
            numbers = tuple(values) if fits else ()
        else:
            fits, numbers = True, (values,)
        if not fits or not all(
            isinstance(n, int) and n >= least for n in numbers
        ):
            form = 'four integers' if per_stage else 'an integer'
            raise ValueError(
                f'arch[{key!r}]={values!r} must be {form} of at least {least}'
                f'{", one for each stage" if per_stage else ""}.'
            )
        row[key] = numbers if per_stage else values
    return row
