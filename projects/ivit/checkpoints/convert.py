# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The FLatten authors' files in mmpretrain's names, and back, losslessly.

| the authors | mmpretrain's ``ImageClassifier`` |
| --- | --- |
| ``norm.`` of Swin and CSwin, in front of the head | ``backbone.norm3.`` |
| ``head.`` | ``head.fc.`` |
| anything else | ``backbone.`` and the same name |

What has no place in a classifier of ours goes under ``'official'`` of the
converted file, so that it is there on the way back: the buffers that are
rebuilt for every map, and PVT's ``norm.``, which its ``forward`` leaves out.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .families import describe, family_of
from .official import FINAL_NORM, HEAD, LAST_OUTPUT_NORM, STALE, unwrap

BACKBONE = 'backbone.'
OUR_HEAD = 'head.fc.'
ASIDE = 'official'
# Those whose final norm comes in front of the head, as norm3 in ours.
NORMED = ('Swin', 'CSwin')
OTHERS = ('PVT', 'PVTv2')


def from_official(content: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint of mmpretrain from the content of an authors' file.

    Args:
        content: The whole file, ``{'model': ...}``, or its tensors alone.

    Returns:
        ``state_dict`` with the names of an ``ImageClassifier``, ``meta`` that
        says what it is, and ``official``, what has no place in the former.

    Raises:
        ValueError: If the names are not the authors'.
    """
    weights = unwrap(content)
    family = family_of(weights)
    of_ours = family in NORMED and any(
        re.match(r'norm\d\.', name) for name in weights
    )
    if family not in NORMED + OTHERS or of_ours:
        raise ValueError(
            "The file is none of the FLatten authors': it has "
            f'{_names(weights)}. One of a classifier of ours is converted '
            'with --to official; one of a backbone alone is used as it is.'
        )
    state, aside = {}, {}
    for name, value in weights.items():
        is_norm = name.startswith(FINAL_NORM)
        if re.fullmatch(STALE, name) or (is_norm and family in OTHERS):
            aside[name] = value
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
        ASIDE: aside,
    }


def to_official(content: Mapping[str, Any]) -> dict[str, Any]:
    """A file as the authors' from a checkpoint of a FLatten classifier.

    One that never was the authors' gets PVT's unused norm as an identity,
    since their model has it, and no buffers: their models build those.

    Args:
        content: A checkpoint of an ``ImageClassifier``.

    Returns:
        The tensors under ``'model'``.

    Raises:
        ValueError: If it is not of such a classifier.
    """
    state = unwrap(content)
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
        or (family in NORMED and re.match(r'backbone\.norm[0-2]?\.', name))
    ]
    if family not in NORMED + OTHERS or extra:
        raise ValueError(
            'The file is not of an ImageClassifier with a FLatten backbone '
            f'and a LinearClsHead: it has {_names(extra or state)}.'
        )
    if family in NORMED and f'{LAST_OUTPUT_NORM}weight' not in backbone:
        raise ValueError(
            'The classifier has no backbone.norm3, the norm that the '
            "authors' models always apply: it cannot be told in their names. "
            'Train it with norm_outputs=True.'
        )
    weights = {}
    for name, value in state.items():
        name = name.removeprefix(BACKBONE)
        if family in NORMED and name.startswith(LAST_OUTPUT_NORM):
            name = name.replace(LAST_OUTPUT_NORM, FINAL_NORM, 1)
        elif name.startswith(OUR_HEAD):
            name = name.replace(OUR_HEAD, HEAD, 1)
        weights[name] = value
    if family == 'PVT':
        weights.update(_identity(weights['pos_embed4']))
    return {'model': {**weights, **content.get(ASIDE, {})}}


def _identity(table: Tensor) -> dict[str, Tensor]:
    """A norm that does nothing, as wide as a position table."""
    channels = table.shape[-1]
    return {
        f'{FINAL_NORM}weight': torch.ones(channels, dtype=table.dtype),
        f'{FINAL_NORM}bias': torch.zeros(channels, dtype=table.dtype),
    }


def _names(weights: Mapping[str, Any] | list[str]) -> str:
    """What to show of a file that does not belong here."""
    return ', '.join(sorted(weights)[:3]) or 'no tensors'
