# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The weights that come with the package, by their names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / 'weights'
INDEX = 'index.json'
SUFFIX = '.safetensors'
#: Settings of a backbone that change neither its weights nor its maps.
FREE_SETTINGS = (
    'drop_path_rate',
    'frozen_stages',
    'init_cfg',
    'norm_eval',
    'out_indices',
    'with_cp',
)


@dataclass(frozen=True)
class ShippedWeights:
    """Weights of a backbone, pre-trained without data.

    Attributes:
        sha256: Of the file, which is called after the weights.
        backbone: Settings of the backbone that they are for.
        config: Name of the config that they were pre-trained with.
        command: What made them.
        seed: Seed of that training.
        samples: Number of pictures that it saw.
        accuracy: Of the classifier, top-1 in percent, on new drawings.
        made_with: Machine and versions.
        licence: What they may be used under.
    """

    sha256: str
    backbone: dict[str, Any]
    config: str
    command: str
    seed: int
    samples: int
    accuracy: float
    made_with: str
    licence: str


@cache
def shipped_weights() -> dict[str, ShippedWeights]:
    """All weights that come with the package, by their names."""
    index = json.loads(Path(FOLDER, INDEX).read_text())
    return {name: ShippedWeights(**entry) for name, entry in index.items()}


def find_shipped(name: str) -> Path | None:
    """The file of weights that come with the package.

    Args:
        name: What was given where a path goes.

    Returns:
        None if no weights have this name.

    Raises:
        ValueError: If the file is not the one that was shipped.
    """
    weights = shipped_weights().get(name)
    if weights is None:
        return None
    path = FOLDER / f'{name}{SUFFIX}'
    try:
        digest = sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ValueError(
            f'the weights {name!r} cannot be read: {error}. Install ivit again'
        ) from error
    if digest != weights.sha256:
        raise ValueError(
            f'{path} has been changed: its SHA-256 begins with {digest[:8]} '
            f'instead of {weights.sha256[:8]}. Install ivit again'
        )
    return path


def shipped_for(backbone: Mapping[str, Any]) -> str | None:
    """The name of weights that come with the package for a backbone.

    Args:
        backbone: ``model.backbone`` of a config.

    Returns:
        None if there are none for exactly these settings.
    """
    settings = {
        key: value
        for key, value in backbone.items()
        if key not in FREE_SETTINGS
    }
    for name, weights in shipped_weights().items():
        if weights.backbone == settings:
            return name
    return None


def tell_names() -> str:
    """The names of all weights that come with the package, for messages."""
    names = ', '.join(shipped_weights())
    return f'Weights that come with ivit: {names or "none"}.'
