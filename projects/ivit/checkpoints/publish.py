# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Turn the checkpoint of a training into a file to publish."""

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..new_file import open_new
from . import tensor_files
from .shipped import SUFFIX as SAFETENSORS
from .strict import BACKBONE

# What inferencers read, and how long the training was.
META_KEYS = ('cfg', 'dataset_meta', 'epoch', 'iter', 'mmengine_version')


def strip_checkpoint(
    content: Mapping[str, Any], averaged: bool = False
) -> dict:
    """Keep of a checkpoint the weights and a little information about them.

    In a checkpoint that ``EMAHook`` saved, ``state_dict`` has the averaged
    weights and ``ema_state_dict`` those that were trained.

    Args:
        content: A checkpoint as mmengine's ``Runner`` saves it.
        averaged: Whether to keep the averaged weights, which the training
            was validated with, instead of the trained ones.

    Returns:
        ``state_dict``, which has only tensors, and ``meta``, which has only
        built-in types: ``torch.load(..., weights_only=True)`` reads both.

    Raises:
        ValueError: If there are no weights, or no averaged weights although
            ``averaged`` asks for them.
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
    weights: OrderedDict[str, Tensor] = OrderedDict()
    for name, value in state.items():
        if trained is not None and not averaged:
            value = trained.get(f'module.{name}', value)
        if isinstance(value, Tensor):
            # A clone: torch.save writes the whole storage behind a view.
            weights[name] = value.detach().cpu().clone()
    # It has the versions by which modules recognise older checkpoints.
    versions = getattr(state, '_metadata', OrderedDict())
    weights._metadata = versions  # type: ignore[attr-defined]  # as torch does
    meta = content.get('meta') or {}
    return {
        'state_dict': weights,
        'meta': {
            key: _to_builtin_types(meta[key])
            for key in META_KEYS
            if key in meta
        },
    }


def backbone_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a model's backbone, to start other trainings from.

    Args:
        state: The weights of the whole model.

    Returns:
        The tensors by their names in the backbone, in float16 where they are
        no whole numbers.

    Raises:
        ValueError: If there are none, or float16 cannot hold one.
    """
    weights = {
        name.removeprefix(BACKBONE): value
        for name, value in state.items()
        if name.startswith(BACKBONE)
    }
    if not weights:
        raise ValueError(
            f'the checkpoint has no weights whose names begin with {BACKBONE}'
        )
    for name, value in weights.items():
        if value.is_floating_point():
            weights[name] = value.half().contiguous()
            if value.isfinite().all() and not weights[name].isfinite().all():
                raise ValueError(
                    f'{name} has values up to {value.abs().max():g}, which '
                    'float16 cannot hold'
                )
    return weights


def save_safetensors(weights: Mapping[str, Tensor], path: str | Path) -> str:
    """Write a new file of safetensors.

    Args:
        weights: Tensors by their names.
        path: Path of the file; missing folders are made.

    Returns:
        The SHA-256 of the file.

    Raises:
        ValueError: If the file exists.
    """
    data = tensor_files.serialize(weights)
    _write_new_file(data, Path(path))
    return sha256(data).hexdigest()


def save_new(content: dict, path: str | Path) -> None:
    """Write a new file.

    Args:
        content: What ``torch.save`` takes.
        path: Path of the file; missing folders are made.

    Raises:
        ValueError: If the file exists, or its name says that it is one of
            safetensors.
    """
    if Path(path).suffix == SAFETENSORS:
        raise ValueError(
            f'{path} would be a file of torch by the name of another kind; '
            'let it end with .pth'
        )
    _write_new_file(_serialize(content), Path(path))


def save_hashed(content: dict, path: str | Path) -> Path:
    """Write a new file with the start of its SHA-256 in the name.

    The same content gives the same name, ``NAME-0a1b2c3d.pth``, which
    ``torch.hub`` checks on download when asked to.

    Args:
        content: What ``torch.save`` takes. Of a file of safetensors it is
            ``state_dict`` and ``meta``, as :func:`strip_checkpoint` returns
            them.
        path: Path of the file without ``-0a1b2c3d``. If it ends with
            ``.safetensors``, that is what is written; ``.pth`` may be left
            out.

    Returns:
        The path of the file.

    Raises:
        ValueError: If the file exists.
    """
    name = str(path)
    if name.endswith(SAFETENSORS):
        ending = SAFETENSORS
        meta = content.get('meta')
        data = tensor_files.serialize(content['state_dict'], meta)
    else:
        ending = '.pth'
        data = _serialize(content)
    digest = sha256(data).hexdigest()[:8]
    path = Path(f'{name.removesuffix(ending)}-{digest}{ending}')
    _write_new_file(data, path)
    return path


def _serialize(content: dict) -> bytes:
    # torch.save writes the name of a file into it, which changes the hash.
    buffer = BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _write_new_file(data: bytes, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_new(path) as file:
        file.write(data)


def _to_builtin_types(value: Any) -> Any:
    """Replace what ``torch.load`` with ``weights_only=True`` would refuse."""
    if isinstance(value, Mapping):
        return {
            _to_builtin_types(key): _to_builtin_types(item)
            for key, item in value.items()
        }
    if isinstance(value, tuple):
        return tuple(map(_to_builtin_types, value))
    if isinstance(value, (list, set)):
        return list(map(_to_builtin_types, value))
    if hasattr(value, 'tolist'):  # arrays and scalars of numpy and torch
        return value.tolist()
    if type(value) in (str, int, float, bool, type(None)):
        return value
    return str(value)
