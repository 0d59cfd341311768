# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Refuse a checkpoint that does not fit the backbone.

mmengine loads every checkpoint with ``strict=False``: weights that do not fit
keep their random values, and the log has a line about it. A state-dict hook
runs on every way of loading: ``init_cfg``, ``load_from``, ``resume``,
inferencers and ``load_state_dict``.
"""

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from .families import describe

MAX_LISTED = 6  # names of weights in a message
BACKBONE = 'backbone.'  # prefix of a backbone's weights in a whole model
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


def check_fit(
    backbone: nn.Module,
    given: Mapping[str, Tensor],
    may_be_missing: str,
    may_be_left_over: str,
) -> None:
    """Check that weights fit a backbone.

    Args:
        backbone: The module that is to load the weights.
        given: The weights by their names in ``backbone``.
        may_be_missing: See :func:`register_strict_loading`.
        may_be_left_over: See :func:`register_strict_loading`.

    Raises:
        ValueError: If any other weight is missing, left over or of another
            shape.
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
        f'{len(names)} {what} ({_list_names(names)})'
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


def _list_names(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    names = sorted(names)
    more = len(names) - MAX_LISTED
    listed = ', '.join(names[:MAX_LISTED])
    return f'{listed} and {more} more' if more > 0 else listed


def _check_before_loading(
    may_be_missing: str,
    may_be_left_over: str,
    backbone: nn.Module,
    state_dict: dict[str, Tensor],
    prefix: str,
    *_: Any,
) -> None:
    """The state-dict hook: :func:`check_fit` for the backbone's own weights.

    Of the checkpoint of a whole model that is loaded into the backbone alone,
    ``state_dict`` keeps only the backbone's weights, without their prefix.
    """
    if not prefix and any(name.startswith(BACKBONE) for name in state_dict):
        weights = {
            name.removeprefix(BACKBONE): value
            for name, value in state_dict.items()
            if name.startswith(BACKBONE)
        }
        state_dict.clear()
        state_dict.update(weights)
    given = {
        name.removeprefix(prefix): value
        for name, value in state_dict.items()
        if name.startswith(prefix)
    }
    check_fit(backbone, given, may_be_missing, may_be_left_over)


def register_strict_loading(
    backbone: nn.Module, may_be_missing: str, may_be_left_over: str
) -> None:
    """Make it an error to load weights that do not fit ``backbone``.

    From the checkpoint of a whole model ``backbone`` takes its own weights.

    ``strict=False`` changes nothing: mmengine's loaders always pass it, and
    torch does not tell the hook. To load a part of a checkpoint, merge that
    part into ``backbone.state_dict()`` and load the result.

    Args:
        backbone: The module to guard; it may be a part of a larger model.
        may_be_missing: Regular expression for the names that a checkpoint
            may lack, matched from the start of the name.
        may_be_left_over: Regular expression for the names that a checkpoint
            may have although the backbone lacks them.

    Raises:
        ValueError: While loading, if anything else is missing, left over or
            of another shape.
    """
    # A partial, not a closure: backbones are pickled and deep-copied.
    backbone._register_load_state_dict_pre_hook(
        partial(_check_before_loading, may_be_missing, may_be_left_over),
        with_module=True,
    )
