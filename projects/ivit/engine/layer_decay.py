# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Layer-wise decay of the learning rate, for any model with a backbone."""

from collections import defaultdict
from collections.abc import Callable
from functools import partial

from mmengine.logging import print_log
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmpretrain.engine import LearningRateDecayOptimWrapperConstructor
from torch import nn

from .no_decay import exempt


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(
    LearningRateDecayOptimWrapperConstructor
):
    """Smaller learning rates for the layers nearer to the image.

    mmpretrain's constructor, which knows classifiers alone, for detectors
    and segmentors too. A parameter of layer i of n gets
    ``lr * layer_decay_rate ** (n - 1 - i)``, where the backbone's
    ``get_layer_depth`` says what i and n are; all outside of the backbone is
    of layer n - 1 and has the full rate. Vectors, position tables and
    ``scale`` have no weight decay, as in
    :class:`NoDecayOptimWrapperConstructor`. A summary goes to the log.

    Args:
        optim_wrapper_cfg: Config of the optimizer wrapper; its optimizer has
            ``lr`` and ``weight_decay``.
        paramwise_cfg: ``layer_decay_rate`` in (0, 1], and, for the weights
            that decay, ``custom_keys`` with ``decay_mult``.

    Raises:
        ValueError: If one of these is missing, out of its range or would be
            ignored, or, when called, the model's backbone has no
            ``get_layer_depth``.
    """

    def __init__(
        self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None
    ) -> None:
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        rate = self.paramwise_cfg.get('layer_decay_rate')
        if not isinstance(rate, (int, float)) or not 0 < rate <= 1:
            raise ValueError(
                f'layer_decay_rate={rate!r} must be in (0, 1]; write '
                'optim_wrapper.paramwise_cfg=dict(layer_decay_rate=0.9).'
            )
        for name in ('lr', 'weight_decay'):
            if self.optimizer_cfg.get(name) is None:
                raise ValueError(
                    f'optim_wrapper.optimizer has no {name}; the rates of '
                    'the layers start from those given there.'
                )
        for key, values in self.paramwise_cfg.get('custom_keys', {}).items():
            if 'lr_mult' in values:
                raise ValueError(
                    f'custom_keys[{key!r}] has lr_mult='
                    f'{values["lr_mult"]}, which goes with no layer-wise '
                    'decay; leave it out.'
                )

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = '',
        get_layer_depth: Callable[[str], tuple[int, int]] | None = None,
    ) -> None:
        """Add a group for every trained parameter.

        Args:
            params: The groups; changed in place.
            module: The model, or, as this calls itself, a part of it.
            prefix: The place of the part in the model.
            get_layer_depth: Depth and number of layers by a parameter's
                name in the model; by default that of the backbone.
        """
        if get_layer_depth is not None:
            super().add_params(params, module, prefix, get_layer_depth)
            return
        backbone = getattr(module, 'backbone', None)
        if not hasattr(backbone, 'get_layer_depth'):
            raise ValueError(
                f'The backbone of {type(module).__name__} is '
                f'{type(backbone).__name__}, which has no get_layer_depth, '
                'so its layers are not known; use one of ivit or mmpretrain, '
                'or leave out constructor.'
            )
        depth = partial(backbone.get_layer_depth, prefix='backbone.')
        super().add_params(params, module, prefix, depth)
        summary = f'{_summary(params)}\n{exempt(module, params)}'
        print_log(summary, logger='current')


def _summary(params: list[dict]) -> str:
    """A line for each layer."""
    layers = defaultdict(list)
    for group in params:
        layers[group['layer_id']].append(group)
    lines = ['Learning rates by layer:']
    for layer, groups in sorted(layers.items()):
        lines.append(
            f'layer {layer}: lr {groups[0]["lr"]:.3g}, x '
            f'{groups[0]["lr_scale"]:.3g}; {len(groups)} tensors'
        )
    return '\n'.join(lines)
