# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Tell from the names in a checkpoint what model it is of."""

import re
from collections import defaultdict
from collections.abc import Iterable

# A name that only this family has; its groups are the stage, which a plain
# transformer has one of, and the block.
FAMILIES = {
    'Swin': r'layers\.(\d+)\.blocks\.(\d+)\.attn\.qkv\.',
    'PVTv2': r'block(\d)\.(\d+)\.mlp\.dwconv\.',
    'PVT': r'block(\d)\.(\d+)\.attn\.q\.',
    'CSwin': r'stage(\d)\.(\d+)\.attns\.',
    'iViT': r'stages\.(\d)\.(\d+)\.(?:conv1\.conv|pos)\.',
    'ViT': r'(blocks)\.(\d+)\.attn\.',
}


def family_of(names: Iterable[str]) -> str:
    """The key of ``FAMILIES``, or an empty string if none has such names.

    Args:
        names: Names of a backbone's tensors, without a prefix.
    """
    names = list(names)
    for family, pattern in FAMILIES.items():
        if any(map(re.compile(pattern).match, names)):
            return family
    return ''


def describe(names: Iterable[str]) -> str:
    """The family and depths, such as ``'a FLatten-PVT of depths 2, 2, 2, 2'``.

    A plain transformer is ``'a ViT of depth 12'`` or ``'a FLatten-DeiT of
    depth 12'``.

    Args:
        names: Names of a backbone's tensors, without a prefix.

    Returns:
        An empty string if the names are of none of the families known.
    """
    names = list(names)
    family = family_of(names)
    if not family:
        return ''
    blocks = defaultdict(set)
    for match in map(re.compile(FAMILIES[family]).match, names):
        if match:
            blocks[match[1]].add(match[2])
    # Every focused linear attention has this table, but not all have DWC.
    focused = any(name.endswith('.positional_encoding') for name in names)
    depths = [str(len(blocks[i])) for i in sorted(blocks)]
    article = 'an' if family == 'iViT' else 'a'
    plain = family == 'ViT'
    kind = f'FLatten-{"DeiT" if plain else family}' if focused else family
    word = 'depth' if plain else 'depths'
    return f'{article} {kind} of {word} {", ".join(depths)}'
