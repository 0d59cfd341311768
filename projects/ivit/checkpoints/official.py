# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Load the FLatten authors' checkpoints as they are, and our own.

Parameters of the FLatten backbones have the authors' names. Everything else
in which their files differ is settled in state-dict hooks, which run for
``init_cfg``, ``load_from``, ``resume`` and ``load_state_dict`` alike.
"""

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from mmengine.logging import print_log
from torch import Tensor

from .families import describe
from .strict import check_fit
from .tables import fit_tables

if TYPE_CHECKING:  # the backbones import this module
    from ..backbones.flatten import FLattenBackbone

HEAD = 'head.'
FINAL_NORM = 'norm.'  # the authors' norm in front of the head
LAST_OUTPUT_NORM = 'norm3.'  # our norm in its place
NORMS_OF_CLASSIFIERS = (FINAL_NORM, LAST_OUTPUT_NORM)
# Buffers of the authors' models. Ours rebuild them for the size of every map.
STALE_BUFFERS = (
    r'(.*\.)?(attn_mask|relative_position_index|relative_coords_table)'
)
NO_NAME = r'(?!)'  # matches no name


def register_official_loading(
    backbone: 'FLattenBackbone',
    not_built: Iterable[str],
    output_norms: bool = False,
) -> None:
    """Make ``backbone`` load the authors' files and refuse what does not fit.

    A file can be loaded as it is (``{'model': ...}``), by the backbone or by
    an mmpretrain ``ImageClassifier`` that has the backbone. The backbone drops
    the head and stale buffers and resizes position tables. The rest has to
    fit, as with :func:`register_strict_loading`.

    Args:
        backbone: A backbone of the FLatten families.
        not_built: Beginnings of names that a checkpoint may have though
            ``backbone`` lacks them: those of stages after the last output.
        output_norms: Whether the family has ``norm{i}`` on its outputs. The
            authors' files have only the final norm, which ``norm3`` takes;
            the other output norms keep their values.

    Raises:
        ValueError: While loading, if anything else is missing, left over or
            of another shape, or a table cannot be resized.
    """
    starts = list(not_built)
    if output_norms:
        unused = {0, 1, 2, 3}.difference(backbone.out_indices)
        starts += [f'norm{i}.' for i in unused]
    left_over = '|'.join(map(re.escape, starts)) or NO_NAME
    # A partial, not a closure: backbones are pickled and deep-copied.
    backbone._register_load_state_dict_pre_hook(
        partial(_fit_to_backbone, left_over, output_norms), with_module=True
    )
    # ImageClassifier registers this attribute as a hook of its own.
    backbone._checkpoint_filter = rename_for_classifier


def extract_weights(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights in the content of a checkpoint file.

    The authors' files have them under ``'model'``, beside the optimizer, a
    config and sometimes averaged weights, ``'state_dict_ema'``. The authors
    evaluate the weights under ``'model'``.

    Args:
        content: The whole content, or the tensors by their names.

    Returns:
        The tensors by their names, without DDP's prefix ``module.``.
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


def rename_for_classifier(
    state_dict: dict[str, Any], prefix: str, *_: Any
) -> None:
    """Give an authors' file the names of mmpretrain's ``ImageClassifier``.

    A checkpoint that has such names already stays as it is.

    Args:
        state_dict: The weights that are being loaded; changed in place.
        prefix: What the names of the classifier's weights begin with.
    """
    weights = {} if prefix else extract_weights(state_dict)
    if not describe(weights):
        return
    state_dict.clear()
    for name, value in weights.items():
        is_head = name.startswith(HEAD)
        new = f'head.fc.{name.removeprefix(HEAD)}'
        state_dict[new if is_head else f'backbone.{name}'] = value


def _fit_to_backbone(
    may_be_left_over: str,
    output_norms: bool,
    backbone: 'FLattenBackbone',
    state_dict: dict[str, Any],
    prefix: str,
    *_: Any,
) -> None:
    """Reduce ``state_dict`` to what ``backbone`` loads, or raise."""
    own = backbone.state_dict()
    weights = _select_own_weights(state_dict, prefix)
    given = _drop_and_rename(weights, own if output_norms else {})
    given, resized = fit_tables(given, own)
    may_be_missing = r'norm\d\.' if output_norms else NO_NAME
    check_fit(backbone, given, may_be_missing, may_be_left_over)
    taken = {name: given[name] for name in own if name in given}
    print_log(
        f'{type(backbone).__name__}: loaded {len(taken)} of {len(own)} '
        f'tensors, resized {len(resized)}; the checkpoint is '
        f'{describe(weights)}.',
        logger='current',
    )
    norms = [name for name in weights if re.match(r'norm\d*\.', name)]
    if norms and all(name.startswith(NORMS_OF_CLASSIFIERS) for name in norms):
        # A classifier has no norms on its other outputs. With the backbone's
        # own values torch does not report them as missing.
        taken = {**own, **taken}
    for name in [name for name in state_dict if name.startswith(prefix)]:
        del state_dict[name]
    for name, value in taken.items():
        state_dict[f'{prefix}{name}'] = value


def _select_own_weights(
    state_dict: Mapping[str, Any], prefix: str
) -> dict[str, Tensor]:
    """The weights of the backbone, by their names within it."""
    if not prefix:  # loaded by itself, perhaps from the file of a whole model
        state_dict = extract_weights(state_dict)
        if any(name.startswith('backbone.') for name in state_dict):
            prefix = 'backbone.'
    return {
        name.removeprefix(prefix): value
        for name, value in state_dict.items()
        if name.startswith(prefix)
    }


def _drop_and_rename(
    weights: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Drop what belongs to a classifier alone.

    Its final norm becomes ``norm3`` if the backbone has one and the
    checkpoint has not.
    """
    norm_weight = f'{LAST_OUTPUT_NORM}weight'
    takes_norm = norm_weight in own and norm_weight not in weights
    given = {}
    for name, value in weights.items():
        if name.startswith(FINAL_NORM) and takes_norm:
            name = name.replace(FINAL_NORM, LAST_OUTPUT_NORM, 1)
        if not (
            name.startswith((HEAD, FINAL_NORM))
            or re.fullmatch(STALE_BUFFERS, name)
        ):
            given[name] = value
    return given
