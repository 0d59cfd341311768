# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Models are told by the names of their tensors."""

import pytest

from ivit import backbones
from ivit.checkpoints import describe

SIZES = dict(dims=(8, 16, 24, 32), depths=(1, 2, 2, 1), num_heads=(2, 2, 2, 4))
MLPS = dict(mlp_ratios=(2, 2, 2, 2))
PLAIN = dict(dim=8, depth=3, num_heads=2)
CASES = [
    ('IViT', dict(arch=SIZES), 'an iViT of depths 1, 2, 2, 1'),
    (
        'FLattenSwin',
        dict(arch=SIZES, img_size=96, window_size=3),
        'a FLatten-Swin of depths 1, 2, 2, 1',
    ),
    (
        'FLattenPVTv2',
        dict(arch={**SIZES, **MLPS}, attn_type='SSSS'),
        'a PVTv2 of depths 1, 2, 2, 1',
    ),
    ('PlainViT', dict(arch=PLAIN), 'a ViT of depth 3'),
    (
        'PlainViT',
        dict(arch=PLAIN, attention='interactive'),
        'a ViT of depth 3',
    ),
    ('FLattenDeiT', dict(arch=PLAIN), 'a FLatten-DeiT of depth 3'),
    (
        'PlainViT',
        dict(arch=PLAIN, attention=dict(type='focused', kernel_size=None)),
        'a FLatten-DeiT of depth 3',
    ),
]


@pytest.mark.parametrize(('name', 'options', 'description'), CASES)
def test_every_family_has_a_name(name, options, description):
    names = getattr(backbones, name)(**options).state_dict()
    assert describe(names) == description
    # In a detector they are the backbone's, and others come first.
    assert describe(f'backbone.{name}' for name in names) == ''


def test_it_is_in_the_error():
    weights = backbones.FLattenDeiT(PLAIN).state_dict()
    with pytest.raises(ValueError, match='names of a FLatten-DeiT of depth 3'):
        backbones.IViT(SIZES).load_state_dict(weights)
