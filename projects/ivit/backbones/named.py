# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Backbones by short names, without a config: ``ivit.create``."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..quiet import only_warnings
from .base import Backbone
from .flatten_cswin import FLattenCSwin
from .flatten_pvt import FLattenPVT
from .flatten_pvt_v2 import FLattenPVTv2
from .flatten_swin import FLattenSwin
from .ivit import IViT
from .vit import FLattenDeiT, PlainViT

FAMILIES: dict[str, type[Backbone]] = dict(
    ivit=IViT,
    flatten_swin=FLattenSwin,
    flatten_pvt=FLattenPVT,
    flatten_pvt_v2=FLattenPVTv2,
    flatten_cswin=FLattenCSwin,
    flatten_deit=FLattenDeiT,
    vit=PlainViT,
)


def named_backbones() -> dict[str, tuple[type[Backbone], str]]:
    """The class and the ``arch`` of every short name, as in ``'ivit_s'``."""
    return {
        f'{family}_{arch}': (cls, arch)
        for family, cls in FAMILIES.items()
        for arch in cls.arch_settings
    }


def create(
    name: str, *, pretrained: str | Path | None = None, **options: Any
) -> Backbone:
    """Build a backbone and give it its weights.

    Args:
        name: Family and arch, such as ``'ivit_s'`` or
            ``'flatten_pvt_v2_b0'``.
        pretrained: Weights: the path or address of a checkpoint of torch or
            a file of safetensors, or the name of weights that come with
            ivit. Of a whole model the backbone's are taken. Without it they
            are random, as the family begins a training.
        **options: Arguments of the backbone beside ``arch``, such as
            ``out_indices`` and ``in_channels``; ``help(ivit.backbones.IViT)``
            lists them.

    Returns:
        The backbone, a ``torch.nn.Module`` in training mode. It takes images
        ``(B, C, H, W)`` of any size and returns a tuple of maps, about which
        ``feature_info`` tells.

    Raises:
        ValueError: If there is no such name, if an option is out of its
            range, or if the weights cannot be read or do not fit.
        TypeError: If the backbone has no such option.

    Example:
        >>> backbone = ivit.create('ivit_n', out_indices=(2, 3))
        >>> [tuple(m.shape) for m in backbone(torch.rand(1, 3, 100, 60))]
        [(1, 96, 7, 4), (1, 128, 4, 2)]
    """
    known = named_backbones()
    if name not in known:
        raise ValueError(
            f'there is no backbone {name!r}. {_suggest(name, list(known))}'
        )
    if pretrained is not None:
        if options.get('init_cfg') is not None:
            raise ValueError(
                f'pretrained={str(pretrained)!r} and init_cfg='
                f'{options["init_cfg"]!r} both say what the weights are. '
                'Leave one of them out.'
            )
        options['init_cfg'] = dict(
            type='Pretrained', checkpoint=str(pretrained)
        )
    cls, arch = known[name]
    # Every family has an arch, the base class has not.
    backbone = cls(arch=arch, **options)  # type: ignore[call-arg]
    try:
        with only_warnings():
            backbone.init_weights()
    except (FileNotFoundError, ValueError) as error:
        if pretrained is None:
            raise
        raise ValueError(
            f'{name} cannot begin with pretrained={str(pretrained)!r}: {error}'
        ) from error
    return backbone


def _suggest(name: object, known: list[str]) -> str:
    """The names that are meant, perhaps, or all of them."""
    near = get_close_matches(str(name).lower(), known, n=4)
    if near:
        return f'Near it are {", ".join(near)}.'
    return f'There are {", ".join(known)}.'
