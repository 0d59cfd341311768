# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Weight decay for matrices and kernels only, for any model."""

import re
from collections import defaultdict

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

# Parameters of more than one dimension that are no matrices: position tables,
# by their names in the backbones of ivit, mmdet and mmpretrain, and the scale
# of focused attention.
TABLES_AND_SCALE = (
    r'positional_encoding|(?:absolute_)?pos_embed\d*|'
    r'relative_position_bias_table|scale'
)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class NoDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, without weight decay where it has no use.

    Whatever ``paramwise_cfg`` says, the decay is 0 for

    - vectors and numbers, which are the biases and the weights of norms, also
      those of necks and heads;
    - position tables and the ``scale`` of focused attention.

    The log says how many parameters of each kind these are.

    Args:
        optim_wrapper_cfg: Config of the optimizer wrapper.
        paramwise_cfg: Optional rules as in mmengine, such as ``lr_mult`` in
            ``custom_keys``.

    Raises:
        ValueError: If ``paramwise_cfg`` has ``layer_decay_rate``, which is
            for another constructor.
    """

    def __init__(
        self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None
    ) -> None:
        # With a rule mmengine makes a group for each parameter, without any
        # it makes one group of all.
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
            is_dcn_module: Whether the part is in a deformable convolution;
                mmengine passes it.
        """
        super().add_params(params, module, prefix, is_dcn_module)
        if not prefix:
            print_log(exempt_from_decay(module, params), logger='current')


def exempt_from_decay(model: nn.Module, groups: list[dict]) -> str:
    """Set the weight decay of vectors, position tables and ``scale`` to 0.

    Args:
        model: The model.
        groups: The optimizer's groups, each with one parameter of the model;
            changed in place.

    Returns:
        A summary: how many parameters of each kind have no decay.
    """
    names = {id(value): name for name, value in model.named_parameters()}
    kinds = defaultdict(list)
    for group in groups:
        (parameter,) = group['params']
        name = names[id(parameter)].rpartition('.')[2]
        if parameter.ndim < 2:
            name = 'vectors (biases, norms)'
        elif not re.fullmatch(TABLES_AND_SCALE, name):
            continue
        kinds[name].append(group)
        group['weight_decay'] = 0.0
    free = [group for kind in kinds.values() for group in kind]
    return '\n  '.join(
        [
            f'Without weight decay: {_count(free)}, of {_count(groups)}:',
            *(f'{kind}: {_count(part)}' for kind, part in kinds.items()),
        ]
    )


def _count(groups: list[dict]) -> str:
    """Say how many tensors and how many numbers the groups have."""
    numbers = sum(group['params'][0].numel() for group in groups)
    return f'{len(groups)} tensors with {numbers:,} numbers'
