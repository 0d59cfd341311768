# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Weight decay on matrices and kernels alone, for any model."""

import re
from collections import defaultdict

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

# Of more than one dimension, but no matrices: position tables, as the
# backbones here and those of mmdet and mmpretrain call them, and the scale of
# FLatten's focused attention.
TABLES = (
    r'positional_encoding|(?:absolute_)?pos_embed\d*|'
    r'relative_position_bias_table|scale'
)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class NoDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """No weight decay where it regularises nothing.

    mmengine's constructor, with decay 0, whatever ``paramwise_cfg`` says, on

    - vectors and numbers: biases and the weights of norms, of necks and
      heads too;
    - position tables and the ``scale`` of focused attention.

    What these are, and how many, goes to the log.

    Args:
        optim_wrapper_cfg: Config of the optimizer wrapper.
        paramwise_cfg: As in mmengine, such as ``lr_mult`` in
            ``custom_keys``; may be left out.

    Raises:
        ValueError: If ``paramwise_cfg`` has ``layer_decay_rate``, which is
            for another constructor.
    """

    def __init__(
        self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None
    ) -> None:
        # Without any rule mmengine makes one group of all parameters.
        rules = {**(paramwise_cfg or {}), 'flat_decay_mult': 0.0}
        super().__init__(optim_wrapper_cfg, rules)
        if 'layer_decay_rate' in rules:
            raise ValueError(
                f'layer_decay_rate={rules["layer_decay_rate"]} is for '
                'LayerDecayOptimWrapperConstructor, which takes weight decay '
                'from the same parameters; name that one as constructor.'
            )

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = '',
        is_dcn_module: int | float | None = None,
    ) -> None:
        """Add a group for every trained parameter.

        Args:
            params: The groups; changed in place.
            module: The model, or, as this calls itself, a part of it.
            prefix: The place of the part in the model.
            is_dcn_module: As in mmengine.
        """
        super().add_params(params, module, prefix, is_dcn_module)
        if not prefix:
            print_log(exempt(module, params), logger='current')


def exempt(model: nn.Module, groups: list[dict]) -> str:
    """Take weight decay from vectors, position tables and ``scale``.

    Args:
        model: The model.
        groups: As an optimizer takes them, with one parameter of the model
            each; changed in place.

    Returns:
        A summary: how much has no decay, and what it is.
    """
    names = {id(value): name for name, value in model.named_parameters()}
    kinds = defaultdict(list)
    for group in groups:
        (parameter,) = group['params']
        name = names[id(parameter)].rpartition('.')[2]
        if parameter.ndim < 2:
            name = 'vectors (biases, norms)'
        elif not re.fullmatch(TABLES, name):
            continue
        kinds[name].append(group)
        group['weight_decay'] = 0.0
    free = [group for kind in kinds.values() for group in kind]
    return '\n  '.join(
        [
            f'Without weight decay: {_size(free)}, of {_size(groups)}:',
            *(f'{kind}: {_size(part)}' for kind, part in kinds.items()),
        ]
    )


def _size(groups: list[dict]) -> str:
    numbers = sum(group['params'][0].numel() for group in groups)
    return f'{len(groups)} tensors with {numbers:,} numbers'
