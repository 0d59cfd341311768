# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Load weights, refuse weights that do not fit, and make files to publish."""

from .convert import from_official, to_official
from .download import load_from_http
from .families import describe
from .files import check_checkpoint_file, find_checkpoint_file
from .loaders import install_loaders, uninstall_loaders
from .official import extract_weights, register_official_loading
from .publish import (
    backbone_weights,
    save_hashed,
    save_new,
    save_safetensors,
    strip_checkpoint,
)
from .shipped import ShippedWeights, shipped_for, shipped_weights
from .strict import register_strict_loading

__all__ = [
    'ShippedWeights',
    'backbone_weights',
    'check_checkpoint_file',
    'describe',
    'extract_weights',
    'find_checkpoint_file',
    'from_official',
    'install_loaders',
    'load_from_http',
    'register_official_loading',
    'register_strict_loading',
    'save_hashed',
    'save_new',
    'save_safetensors',
    'shipped_for',
    'shipped_weights',
    'strip_checkpoint',
    'to_official',
    'uninstall_loaders',
]
