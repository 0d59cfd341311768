# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Load the FLatten authors' checkpoints as they are, and our own.

The backbones have the authors' names of parameters. What else their files
need is done in state-dict hooks, so that it holds for ``init_cfg``,
``load_from``, ``resume`` and ``load_state_dict`` alike.
"""

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from .families import describe
from .strict import check_fit
from .tables import fit_tables

HEAD = 'head.'
FINAL_NORM = 'norm.'  # the authors' one, in front of the head
LAST_OUTPUT_NORM = 'norm3.'  # ours, in its place
OF_CLASSIFIERS = (FINAL_NORM, LAST_OUTPUT_NORM)
# Rebuilt for the size of every map.
STALE = r'(.*\.)?(attn_mask|relative_position_index|relative_coords_table)'
NOTHING = r'(?!)'  # matches no name


def register_official_loading(
    backbone: nn.Module, not_built: Iterable[str], output_norms: bool = False
) -> None:
    """Make ``backbone`` take the authors' files, and nothing that misfits.

    A file may be whole (``{'model': ...}``), and be given to the backbone
    itself or to an mmpretrain ``ImageClassifier`` round it. Heads and stale
    buffers are dropped, position tables resized. Then all has to fit, as in
    :func:`register_strict_loading`.

    Args:
        backbone: A backbone of the FLatten families.
        not_built: What names begin with that a good checkpoint has and
            ``backbone`` lacks: those of stages behind the last output.
        output_norms: Whether the family has ``norm{i}`` on its outputs, which
            the authors' files lack: they stay as they are, but for ``norm3``,
            which takes the authors' final norm.

    Raises:
        ValueError: While loading, if anything else is missing, left over or
            of another shape, or a table cannot be resized.
    """
    starts = list(not_built)
    if output_norms:
        unused = {0, 1, 2, 3}.difference(backbone.out_indices)
        starts += [f'norm{i}.' for i in unused]
    left_over = '|'.join(map(re.escape, starts)) or NOTHING
    # A partial, not a closure: backbones are pickled and deep-copied.
    backbone._register_load_state_dict_pre_hook(
        partial(_adapt, left_over, output_norms), with_module=True
    )
    # ImageClassifier makes this a hook of its own.
    backbone._checkpoint_filter = to_classifier


def unwrap(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights in a file's content, without the prefix of DDP.

    The authors keep them under ``'model'``, beside the optimizer, a config
    and, at times, averaged weights, ``'state_dict_ema'``. They evaluate
    those under ``'model'``.
    """
    keys = [
        key
        for key in ('model', 'state_dict')
        if isinstance(content.get(key), Mapping)
    ]
    if keys and 'state_dict_ema' in content:
        print_log(
            "The checkpoint has averaged weights too, 'state_dict_ema'; those "
            f'under {keys[0]!r} are loaded, as the authors do.',
            logger='current',
        )
    weights = content[keys[0]] if keys else content
    return {
        name.removeprefix('module.'): value
        for name, value in weights.items()
        if isinstance(value, Tensor)
    }


def to_classifier(state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Give an authors' file the names of mmpretrain's ``ImageClassifier``.

    Args:
        state_dict: What is loaded; changed in place.
        prefix: The place of the classifier in it.
    """
    weights = {} if prefix else unwrap(state_dict)
    if not describe(weights):
        return  # a classifier's already, with backbone. before the names
    state_dict.clear()
    for name, value in weights.items():
        is_head = name.startswith(HEAD)
        new = f'head.fc.{name.removeprefix(HEAD)}'
        state_dict[new if is_head else f'backbone.{name}'] = value


def _adapt(
    may_be_left_over: str,
    output_norms: bool,
    backbone: nn.Module,
    state_dict: dict[str, Any],
    prefix: str,
    *_: Any,
) -> None:
    """Leave in ``state_dict`` what ``backbone`` takes, or raise."""
    own = backbone.state_dict()
    share = _share(state_dict, prefix)
    given = _translate(share, own if output_norms else {})
    given, resized = fit_tables(given, own)
    may_be_missing = r'norm\d\.' if output_norms else NOTHING
    check_fit(backbone, given, may_be_missing, may_be_left_over)
    taken = {name: given[name] for name in own if name in given}
    print_log(
        f'{type(backbone).__name__}: loaded {len(taken)} of {len(own)} '
        f'tensors, resized {len(resized)}; the checkpoint is '
        f'{describe(share)}.',
        logger='current',
    )
    norms = [name for name in share if re.match(r'norm\d*\.', name)]
    if norms and all(name.startswith(OF_CLASSIFIERS) for name in norms):
        # A classifier has no other output norms: nothing is amiss.
        taken = {**own, **taken}
    for name in [name for name in state_dict if name.startswith(prefix)]:
        del state_dict[name]
    for name, value in taken.items():
        state_dict[f'{prefix}{name}'] = value


def _share(state_dict: Mapping[str, Any], prefix: str) -> dict[str, Tensor]:
    """What is meant for the backbone, named from there."""
    if not prefix:  # loaded on its own, from a whole file perhaps
        state_dict = unwrap(state_dict)
        if any(name.startswith('backbone.') for name in state_dict):
            prefix = 'backbone.'
    return {
        name.removeprefix(prefix): value
        for name, value in state_dict.items()
        if name.startswith(prefix)
    }


def _translate(
    share: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Without the classifier's parts, but its norm if ``own`` has a place."""
    weight = f'{LAST_OUTPUT_NORM}weight'
    takes_norm = weight in own and weight not in share
    given = {}
    for name, value in share.items():
        if name.startswith(FINAL_NORM) and takes_norm:
            name = name.replace(FINAL_NORM, LAST_OUTPUT_NORM, 1)
        if not (
            name.startswith((HEAD, FINAL_NORM)) or re.fullmatch(STALE, name)
        ):
            given[name] = value
    return given
