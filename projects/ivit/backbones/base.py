# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What every hierarchical backbone of the package has in common."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from .recompute import recompute


class Backbone(BaseModule):
    """Arguments, freezing, recomputation and depths of any backbone.

    A subclass builds its modules up to ``num_built``, says what belongs
    where (:meth:`_parts`, :meth:`_locate`) and calls :meth:`train` when
    everything is built.

    Args:
        depths: Number of blocks of each stage.
        units: What ``out_indices`` and ``frozen_stages`` count, ``'stages'``
            or ``'blocks'``.
        in_channels: Channels of the image.
        out_indices: Units, from 0, whose maps are returned. Those behind the
            last of them are not built.
        drop_path_rate: Stochastic depth of the last block; rises linearly
            from 0 at the first.
        frozen_stages: -1 trains all, 0 freezes the stem, i the stem and the
            first i units.
        with_cp: Which of ``units`` are recomputed in the backward pass, to
            save memory: all, none, or a sequence of their numbers, from 0.
        init_cfg: mmengine's initialisation.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        depths: tuple[int, ...],
        units: str,
        in_channels: int,
        out_indices: Sequence[int],
        drop_path_rate: float,
        frozen_stages: int,
        with_cp: bool | Sequence[int],
        init_cfg: dict | list[dict] | None,
    ) -> None:
        super().__init__(init_cfg)
        count = len(depths) if units == 'stages' else sum(depths)
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
        """``block(x, *args)``, recomputed in the backward pass if asked."""
        if unit in self.recomputed and x.requires_grad:
            return recompute(block, x, *args)
        return block(x, *args)

    def _parts(self, stage: int) -> list[nn.Module | nn.Parameter]:
        """What is frozen with a stage or block, -1 for the stem."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> 'Backbone':
        """Set the mode; frozen stages stay in evaluation mode."""
        super().train(mode)
        for stage in range(-1, self.frozen_stages):
            for part in self._parts(stage):
                part.requires_grad_(False)
                if isinstance(part, nn.Module):
                    part.eval()
        return self

    def _locate(self, name: str) -> tuple[int, int] | None:
        """Stage and block of a parameter; (0, -1) the stem, None no block."""
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
            place = self._locate(param_name.removeprefix(prefix))
        if place is None:
            return num_layers - 1, num_layers
        stage, block = place
        return 1 + sum(self.depths[:stage]) + block, num_layers


class PyramidBackbone(Backbone):
    """Four stages with maps at strides 4, 8, 16 and 32.

    A family fills ``arch_settings``.

    Args:
        arch: Name of a row of ``arch_settings``, or a dict with its keys,
            four positive integers each.
        in_channels: See :class:`Backbone`, as for the rest.
        out_indices: Stages, 0 to 3.
        drop_path_rate: See there.
        frozen_stages: See there.
        with_cp: See there.
        init_cfg: See there.

    Raises:
        ValueError: If an argument is out of its range.
    """

    arch_settings: dict[str, dict[str, tuple[int, ...]]]
    least_width = 1

    def __init__(
        self,
        arch: str | dict,
        in_channels: int,
        out_indices: Sequence[int],
        drop_path_rate: float,
        frozen_stages: int,
        with_cp: bool | Sequence[int],
        init_cfg: dict | list[dict] | None,
    ) -> None:
        settings = self._parse_arch(arch)
        super().__init__(
            settings['depths'],
            'stages',
            in_channels,
            out_indices,
            drop_path_rate,
            frozen_stages,
            with_cp,
            init_cfg,
        )
        self.arch = settings

    @classmethod
    def _parse_arch(cls, arch: str | dict) -> dict[str, tuple[int, ...]]:
        if isinstance(arch, str):
            if arch not in cls.arch_settings:
                raise ValueError(
                    f'arch={arch!r} is unknown; choose one of '
                    f'{sorted(cls.arch_settings)}, or pass a dict.'
                )
            return cls.arch_settings[arch]
        keys = set(next(iter(cls.arch_settings.values())))
        if not isinstance(arch, dict) or set(arch) != keys:
            raise ValueError(
                f'arch={arch!r} must be a name or a dict with exactly the '
                f'keys {sorted(keys)}.'
            )
        for key, values in arch.items():
            least = cls.least_width if key == 'dims' else 1
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
