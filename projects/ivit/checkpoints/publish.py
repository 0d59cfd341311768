# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Make of a training's checkpoint a file to give to others."""

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# What inferencers ask for, and how far the training was.
META = ('cfg', 'dataset_meta', 'epoch', 'iter', 'mmengine_version')


def strip_checkpoint(
    content: Mapping[str, Any], averaged: bool = False
) -> dict:
    """The weights of a checkpoint of mmengine, and a little about them.

    ``EMAHook`` swaps on saving: ``state_dict`` are the averaged weights, and
    ``ema_state_dict`` those that were trained.

    Args:
        content: A checkpoint as mmengine's ``Runner`` saves it.
        averaged: Whether to take the averaged weights of ``EMAHook``, those
            that the training was validated with.

    Returns:
        ``state_dict``, tensors alone, and ``meta`` of plain types:
        ``torch.load(..., weights_only=True)`` reads both.

    Raises:
        ValueError: If there are no weights, or no averaged ones though asked
            for.
    """
    state = content.get('state_dict')
    trained = content.get('ema_state_dict')
    if not isinstance(state, Mapping) or not state:
        raise ValueError(
            'The file has no state_dict, so no training of mmengine saved '
            f'it: it has {", ".join(sorted(map(str, content))[:3])}. A file '
            "of the FLatten authors' goes through "
            'tools/convert_checkpoint.py first.'
        )
    if averaged and trained is None:
        raise ValueError(
            'The checkpoint has no averaged weights: EMAHook was not in '
            'custom_hooks of the training, or had not begun. Leave out --ema.'
        )
    weights = OrderedDict()
    for name, value in state.items():
        if trained is not None and not averaged:
            value = trained.get(f'module.{name}', value)
        if isinstance(value, Tensor):
            # A clone, since a view would be saved with all of its storage.
            weights[name] = value.detach().cpu().clone()
    # By the versions of modules in it older names are told from newer ones.
    weights._metadata = getattr(state, '_metadata', OrderedDict())
    meta = content.get('meta') or {}
    return {
        'state_dict': weights,
        'meta': {key: _plain(meta[key]) for key in META if key in meta},
    }


def save_new(content: dict, path: str | Path) -> None:
    """Write a new file.

    Args:
        content: What ``torch.save`` takes.
        path: Where; missing folders are made.

    Raises:
        ValueError: If it exists.
    """
    _write(_serialize(content), Path(path))


def save_hashed(content: dict, prefix: str | Path) -> Path:
    """Write a new file with the start of its SHA-256 in the name.

    The same content gives the same name, ``PREFIX-0a1b2c3d.pth``, which
    ``torch.hub`` checks on download when asked to.

    Args:
        content: What ``torch.save`` takes.
        prefix: The path without what is added.

    Returns:
        The path.

    Raises:
        ValueError: If the file exists.
    """
    data = _serialize(content)
    prefix = str(prefix).removesuffix('.pth')
    path = Path(f'{prefix}-{sha256(data).hexdigest()[:8]}.pth')
    _write(data, path)
    return path


def _serialize(content: dict) -> bytes:
    # Into memory: torch would put the name of a file into it.
    buffer = BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _write(data: bytes, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = path.open('xb')
    except FileExistsError:
        raise ValueError(
            f'{path} exists and is not overwritten: give another name or '
            'remove it.'
        ) from None
    try:
        with file:
            file.write(data)
    except BaseException:  # a part would stand in the way of the next try
        path.unlink()
        raise


def _plain(value: Any) -> Any:
    """Built-in types in place of those that only a pickle can hold."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, (list, set)):
        return list(map(_plain, value))
    if hasattr(value, 'tolist'):  # arrays and scalars of numpy and torch
        return value.tolist()
    if type(value) in (str, int, float, bool, type(None)):
        return value
    return str(value)
