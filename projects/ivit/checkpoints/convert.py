# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Convert the FLatten authors' files to mmpretrain's names and back.

| the authors | mmpretrain's ``ImageClassifier`` |
| --- | --- |
| ``norm.`` of Swin and CSwin, in front of the head | ``backbone.norm3.`` |
| ``head.`` | ``head.fc.`` |
| anything else | ``backbone.`` and the same name |

Nothing is lost on the way. Two things have no place in a classifier of ours:
the buffers that our backbones rebuild for every map, and PVT's ``norm.``,
which the authors' ``forward`` does not use. The converted file keeps them
under ``'official'`` for the way back.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .families import describe, family_of
from .official import (
    FINAL_NORM,
    HEAD,
    LAST_OUTPUT_NORM,
    STALE_BUFFERS,
    extract_weights,
)

BACKBONE = 'backbone.'
OUR_HEAD = 'head.fc.'
OFFICIAL_ONLY = 'official'
# The authors' models of these families apply a norm in front of the head; in
# our backbones it is norm3.
HEAD_NORM_FAMILIES = ('Swin', 'CSwin')
PVT_FAMILIES = ('PVT', 'PVTv2')


def from_official(content: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the content of an authors' file to a checkpoint of mmpretrain.

    Args:
        content: The whole file, ``{'model': ...}``, or its tensors alone.

    Returns:
        ``state_dict`` with the names of an ``ImageClassifier``, ``meta`` that
        says what model it is of, and ``official`` with the tensors that have
        no place in ``state_dict``.

    Raises:
        ValueError: If the names are not the authors'.
    """
    weights = extract_weights(content)
    family = family_of(weights)
    of_ours = family in HEAD_NORM_FAMILIES and any(
        re.match(r'norm\d\.', name) for name in weights
    )
    if family not in HEAD_NORM_FAMILIES + PVT_FAMILIES or of_ours:
        raise ValueError(
            "The file is none of the FLatten authors': it has "
            f'{_list_first_names(weights)}. One of a classifier of ours is '
            'converted with --to official; one of a backbone alone is used as '
            'it is.'
        )
    state, official_only = {}, {}
    for name, value in weights.items():
        is_norm = name.startswith(FINAL_NORM)
        if re.fullmatch(STALE_BUFFERS, name) or (
            is_norm and family in PVT_FAMILIES
        ):
            official_only[name] = value
        elif name.startswith(HEAD):
            state[name.replace(HEAD, OUR_HEAD, 1)] = value
        elif is_norm:
            new = name.replace(FINAL_NORM, LAST_OUTPUT_NORM, 1)
            state[f'{BACKBONE}{new}'] = value
        else:
            state[f'{BACKBONE}{name}'] = value
    return {
        'state_dict': state,
        'meta': {'converted_from': describe(weights)},
        OFFICIAL_ONLY: official_only,
    }


def to_official(content: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a checkpoint of a FLatten classifier to the authors' names.

    A checkpoint that does not come from an authors' file has nothing under
    ``'official'``. The result then has no buffers, which the authors' models
    build themselves. For PVT it gets the unused norm, as an identity, because
    their model expects it.

    Args:
        content: A checkpoint of an ``ImageClassifier``.

    Returns:
        The tensors under ``'model'``.

    Raises:
        ValueError: If the checkpoint is not of such a classifier.
    """
    state = extract_weights(content)
    backbone = [
        name.removeprefix(BACKBONE)
        for name in state
        if name.startswith(BACKBONE)
    ]
    family = family_of(backbone)
    extra = [
        name
        for name in state
        if not name.startswith((BACKBONE, OUR_HEAD))
        or (
            family in HEAD_NORM_FAMILIES
            and re.match(r'backbone\.norm[0-2]?\.', name)
        )
    ]
    if family not in HEAD_NORM_FAMILIES + PVT_FAMILIES or extra:
        raise ValueError(
            'The file is not of an ImageClassifier with a FLatten backbone '
            f'and a LinearClsHead: it has {_list_first_names(extra or state)}.'
        )
    if (
        family in HEAD_NORM_FAMILIES
        and f'{LAST_OUTPUT_NORM}weight' not in backbone
    ):
        raise ValueError(
            'The classifier has no backbone.norm3, the norm that the '
            "authors' models always apply: it cannot be told in their names. "
            'Train it with norm_outputs=True.'
        )
    weights = {}
    for name, value in state.items():
        name = name.removeprefix(BACKBONE)
        if family in HEAD_NORM_FAMILIES and name.startswith(LAST_OUTPUT_NORM):
            name = name.replace(LAST_OUTPUT_NORM, FINAL_NORM, 1)
        elif name.startswith(OUR_HEAD):
            name = name.replace(OUR_HEAD, HEAD, 1)
        weights[name] = value
    if family == 'PVT':
        weights.update(_make_identity_norm(weights['pos_embed4']))
    return {'model': {**weights, **content.get(OFFICIAL_ONLY, {})}}


def _make_identity_norm(table: Tensor) -> dict[str, Tensor]:
    """Weight 1 and bias 0 of a norm with the width of ``table``."""
    channels = table.shape[-1]
    return {
        f'{FINAL_NORM}weight': torch.ones(channels, dtype=table.dtype),
        f'{FINAL_NORM}bias': torch.zeros(channels, dtype=table.dtype),
    }


def _list_first_names(weights: Mapping[str, Any] | list[str]) -> str:
    """The first names in a file, for a message."""
    return ', '.join(sorted(weights)[:3]) or 'no tensors'
