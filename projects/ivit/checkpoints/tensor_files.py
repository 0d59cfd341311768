# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Checkpoints as files of safetensors: tensors, and JSON in the header."""

import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

# The one entry in the header's metadata. Of several entries the order would
# differ from file to file, and with it the hash.
ENTRY = 'ivit'
PAIRS = '__pairs__'  # a dict whose keys are not all strings, as JSON's are
LENGTH = 8  # bytes in front of the header, which tell how long it is


def serialize(
    weights: Mapping[str, Tensor], meta: Mapping[str, Any] | None = None
) -> bytes:
    """The content of a file of safetensors.

    Args:
        weights: Tensors by their names, no two of one memory.
        meta: What ``meta`` of a checkpoint has, in built-in types. It goes
            into the header as JSON, and with it the versions of modules that
            torch keeps beside ``weights``. Tuples become lists. With None
            the header has neither.
    """
    tensors = {name: value.contiguous() for name, value in weights.items()}
    if meta is None:
        return safetensors.torch.save(tensors)
    told = dict(
        meta=_with_string_keys(meta),
        versions=getattr(weights, '_metadata', {}),
    )
    return safetensors.torch.save(tensors, {ENTRY: json.dumps(told)})


def load(path: str | Path, device: str = 'cpu') -> dict[str, Any]:
    """Load a file.

    Args:
        path: The file.
        device: Where its tensors go.

    Returns:
        ``state_dict`` and ``meta``, if :func:`serialize` was given ``meta``;
        otherwise the tensors by their names.

    Raises:
        ValueError: If the header has an entry of ivit's that is not as
            :func:`serialize` writes it.
    """
    tensors = safetensors.torch.load_file(path, device)
    with safe_open(path, 'pt') as file:
        entry = (file.metadata() or {}).get(ENTRY)
    if entry is None:
        return tensors
    told = _read_entry(entry)
    weights = OrderedDict(tensors)
    weights._metadata = told['versions']  # type: ignore[attr-defined]
    return dict(state_dict=weights, meta=told['meta'])


def find_fault_of_tensors(path: Path) -> str | None:
    """What the header shows to be wrong with a file, or None."""
    size = path.stat().st_size
    with path.open('rb') as opened:
        start = opened.read(LENGTH + 1)
    if start[LENGTH:] not in (b'{', b''):
        if start.lstrip().startswith(b'<'):
            return 'it is a web page'
        return 'safetensors has not written it'
    length = int.from_bytes(start[:LENGTH], 'little')
    if size < LENGTH + length:
        return (
            f'it has {size} bytes, and its header alone should have '
            f'{LENGTH + length}'
        )
    try:
        with safe_open(path, 'pt') as file:
            if not file.keys():
                return 'it has no tensors'
            entry = (file.metadata() or {}).get(ENTRY)
    except SafetensorError as error:
        return f'its header and what follows do not go together ({error})'
    try:
        if entry is not None:
            _read_entry(entry)
    except ValueError as error:
        return str(error)
    return None


def _read_entry(entry: str) -> dict[str, dict[str, Any]]:
    """``meta`` and ``versions``, from the text in a header.

    Raises:
        ValueError: If the text is not of this form.
    """
    try:
        told = json.loads(entry, object_hook=_with_own_keys)
        parts = (told['meta'], told['versions'], *told['versions'].values())
        if not all(isinstance(part, dict) for part in parts):
            raise TypeError('meta and versions have to be objects')
    except (
        AttributeError,
        KeyError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f'{ENTRY!r} in its header is not what ivit writes there '
            f'({type(error).__name__}: {error})'
        ) from error
    return told


def _with_string_keys(value: Any) -> Any:
    """Built-in types as JSON has them."""
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {k: _with_string_keys(item) for k, item in value.items()}
        return {PAIRS: [_with_string_keys(pair) for pair in value.items()]}
    if isinstance(value, (list, tuple)):
        return list(map(_with_string_keys, value))
    return value


def _with_own_keys(value: dict[str, Any]) -> dict[Any, Any]:
    """The inverse, for one object of JSON."""
    if set(value) != {PAIRS}:
        return value
    return {_as_key(key): item for key, item in value[PAIRS]}


def _as_key(value: Any) -> Any:
    return tuple(map(_as_key, value)) if isinstance(value, list) else value
