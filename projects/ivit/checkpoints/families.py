# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Tell a model's family and depth from the names in its checkpoint."""

import re
from collections import defaultdict
from collections.abc import Iterable

# For each family a pattern of names that no other family has. Its first group
# is the stage (a plain transformer has only one), its second the residual
# block within the stage.
FAMILIES = {
    'Swin': r'layers\.(\d+)\.blocks\.(\d+)\.attn\.qkv\.',
    'PVTv2': r'block(\d)\.(\d+)\.mlp\.dwconv\.',
    'PVT': r'block(\d)\.(\d+)\.attn\.q\.',
    'CSwin': r'stage(\d)\.(\d+)\.attns\.',
    'iViT': r'stages\.(\d)\.(\d+)\.(?:conv1\.conv|pos)\.',
    'ViT': r'(blocks)\.(\d+)\.attn\.',
}


def family_of(names: Iterable[str]) -> str:
    """The family that a backbone belongs to.

    Args:
        names: Names of the backbone's tensors, without a prefix.

    Returns:
        A key of ``FAMILIES``, or an empty string if no family has such names.
    """
    names = list(names)
    for family, pattern in FAMILIES.items():
        if any(map(re.compile(pattern).match, names)):
            return family
    return ''


def describe(names: Iterable[str]) -> str:
    """Say in words what model the names in a checkpoint are of.

    Args:
        names: Names of a backbone's tensors, without a prefix.

    Returns:
        Family and depths, such as ``'a FLatten-PVT of depths 2, 2, 2, 2'``
        or ``'a ViT of depth 12'``; an empty string if no known family has
        such names.
    """
    names = list(names)
    family = family_of(names)
    if not family:
        return ''
    blocks = defaultdict(set)
    for match in map(re.compile(FAMILIES[family]).match, names):
        if match:
            blocks[match[1]].add(match[2])
    # Every focused linear attention has this table; the depthwise convolution
    # is optional.
    focused = any(name.endswith('.positional_encoding') for name in names)
    depths = [str(len(blocks[i])) for i in sorted(blocks)]
    article = 'an' if family == 'iViT' else 'a'
    plain = family == 'ViT'
    kind = f'FLatten-{"DeiT" if plain else family}' if focused else family
    word = 'depth' if plain else 'depths'
    return f'{article} {kind} of {word} {", ".join(depths)}'
