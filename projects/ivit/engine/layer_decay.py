# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Layer-wise decay of the learning rate, for any model with a backbone."""

from collections import defaultdict

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from .no_decay import exempt_from_decay


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Smaller learning rates for the layers nearer to the image.

    A parameter of layer i of n gets ``lr * layer_decay_rate ** (n - 1 - i)``.
    The backbone's ``get_layer_depth`` says what i and n are, as backbones of
    mmpretrain do. All parameters outside of the backbone are of layer n - 1
    and have the full rate. Vectors, position tables and ``scale`` have no
    weight decay, as in :class:`NoDecayOptimWrapperConstructor`. The rates go
    to the log.

    Args:
        optim_wrapper_cfg: Config of the optimizer wrapper; its optimizer has
            ``lr`` and ``weight_decay``.
        paramwise_cfg: ``layer_decay_rate`` in (0, 1], and optionally
            ``custom_keys`` as in mmengine, with ``decay_mult`` but without
            ``lr_mult``.

    Raises:
        ValueError: If ``layer_decay_rate``, ``lr`` or ``weight_decay`` is
            missing, ``layer_decay_rate`` is out of its range or
            ``custom_keys`` has an ``lr_mult``. When called, if the model's
            backbone has no ``get_layer_depth``.
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

    def add_params(self, params: list[dict], module: nn.Module) -> None:
        """Add a group for every parameter that is trained.

        Args:
            params: The groups of the optimizer; changed in place.
            module: The whole model.
        """
        backbone = getattr(module, 'backbone', None)
        get_layer_depth = getattr(backbone, 'get_layer_depth', None)
        if get_layer_depth is None:
            raise ValueError(
                f'The backbone of {type(module).__name__} is '
                f'{type(backbone).__name__}, which has no get_layer_depth, '
                'so its layers are not known; use one of ivit or mmpretrain, '
                'or leave out constructor.'
            )
        decay_rate = self.paramwise_cfg['layer_decay_rate']
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            layer, layers = get_layer_depth(name, prefix='backbone.')
            lr_scale = decay_rate ** (layers - 1 - layer)
            settings = self._find_custom_settings(name)
            decay_mult = settings.pop('decay_mult', 1.0)
            params.append(
                {
                    **settings,
                    'params': [parameter],
                    'param_name': name,
                    'weight_decay': self.base_wd * decay_mult,
                    'lr': self.base_lr * lr_scale,
                    'lr_scale': lr_scale,
                    'layer_id': layer,
                }
            )
        without_decay = exempt_from_decay(module, params)
        summary = f'{_summarize_rates(params)}\n{without_decay}'
        print_log(summary, logger='current')

    def _find_custom_settings(self, name: str) -> dict:
        """A copy of what ``custom_keys`` has for a parameter.

        As in mmengine, the longest key that is a part of the name counts.
        """
        custom_keys = self.paramwise_cfg.get('custom_keys', {})
        found = sorted(key for key in custom_keys if key in name)
        return dict(custom_keys[max(found, key=len)]) if found else {}


def _summarize_rates(groups: list[dict]) -> str:
    """The rate of every layer, a line for each."""
    layers = defaultdict(list)
    for group in groups:
        layers[group['layer_id']].append(group)
    lines = ['Learning rates by layer:']
    for layer, members in sorted(layers.items()):
        lines.append(
            f'layer {layer}: lr {members[0]["lr"]:.3g}, x '
            f'{members[0]["lr_scale"]:.3g}; {len(members)} tensors'
        )
    return '\n'.join(lines)
