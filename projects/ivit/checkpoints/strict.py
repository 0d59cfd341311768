# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Refuse a checkpoint that does not fit the backbone.

mmengine loads every checkpoint with ``strict=False``: what does not fit is
left at its random values with a line in the log. A state-dict hook sees all
ways in alike: ``init_cfg``, ``load_from``, ``resume``, inferencers and
``load_state_dict``.
"""

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from .families import describe

SHOWN = 6
WITHIN = 'backbone.'  # a backbone's names in a whole model
WRONG_OPTIONS = (
    'It was made with another arch or other options, or its names begin with '
    "something other than 'backbone.', which is the prefix in "
    "init_cfg=dict(type='Pretrained', checkpoint=..., prefix=...)."
)
WRONG_PLACE = (
    'The checkpoint has nothing for a backbone. If it is one of a backbone '
    "alone, as the FLatten authors' are, give it to the backbone: "
    "model.backbone.init_cfg=dict(type='Pretrained', checkpoint=...)."
)


def _shorten(names: Iterable[str]) -> str:
    names = sorted(names)
    more = f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''
    return ', '.join(names[:SHOWN]) + more


def check_fit(
    backbone: nn.Module,
    given: Mapping[str, Tensor],
    may_be_missing: str,
    may_be_left_over: str,
) -> None:
    """Raise a ``ValueError`` if the tensors ``given`` do not fit.

    Args:
        backbone: The module that is to have them.
        given: Tensors by the names they have in ``backbone``.
        may_be_missing: See :func:`register_strict_loading`.
        may_be_left_over: The same.
    """
    own = backbone.state_dict()
    problems = {
        'missing': [
            name
            for name in own
            if name not in given and not re.match(may_be_missing, name)
        ],
        'of another shape': [
            f'{name} {tuple(given[name].shape)} for {tuple(value.shape)}'
            for name, value in own.items()
            if name in given and given[name].shape != value.shape
        ],
        'left over': [
            name
            for name in given
            if name not in own and not re.match(may_be_left_over, name)
        ],
    }
    found = [
        f'{len(names)} {what} ({_shorten(names)})'
        for what, names in problems.items()
        if names
    ]
    if found:
        family = describe(given)
        raise ValueError(
            f'The checkpoint does not fit this {type(backbone).__name__}'
            + (f', it has the names of {family}' if family else '')
            + f': of {len(own)} tensors {"; ".join(found)}. '
            + (WRONG_PLACE if not given else WRONG_OPTIONS)
            + ' Nothing was loaded.'
        )


def _check(
    may_be_missing: str,
    may_be_left_over: str,
    backbone: nn.Module,
    state_dict: dict[str, Tensor],
    prefix: str,
    *_: Any,
) -> None:
    if not prefix and any(name.startswith(WITHIN) for name in state_dict):
        # A classifier's or a detector's, loaded into a backbone alone.
        share = {
            name.removeprefix(WITHIN): value
            for name, value in state_dict.items()
            if name.startswith(WITHIN)
        }
        state_dict.clear()
        state_dict.update(share)
    given = {
        name.removeprefix(prefix): value
        for name, value in state_dict.items()
        if name.startswith(prefix)
    }
    check_fit(backbone, given, may_be_missing, may_be_left_over)


def register_strict_loading(
    backbone: nn.Module, may_be_missing: str, may_be_left_over: str
) -> None:
    """Make loading weights that do not fit ``backbone`` an error.

    Of a whole model's checkpoint ``backbone`` takes what is its own.

    ``strict=False`` does not lift it: the hook is not told, and mmengine's
    loaders always pass it. To load part of a checkpoint, take that part of
    its state dict and of the backbone's and load the two merged.

    Args:
        backbone: The module to guard, wherever it sits in a larger model.
        may_be_missing: Regular expression for parameters that a good
            checkpoint may lack, matched from the start of the name.
        may_be_left_over: The same for entries that the backbone may lack.

    Raises:
        ValueError: While loading, if anything else is missing, left over or
            of another shape.
    """
    # A partial, not a closure: backbones are pickled and deep-copied.
    backbone._register_load_state_dict_pre_hook(
        partial(_check, may_be_missing, may_be_left_over), with_module=True
    )
