# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from ivit.annotations.checks import run_lengths
from ivit.annotations.checks.run_lengths import count_pixels


def encode(pixels):
    return coco_mask.encode(np.asfortranarray(pixels.astype(np.uint8)))[
        'counts'
    ]


def make_masks():
    """Masks of all kinds, from one run to as many as there are pixels."""
    generator = np.random.default_rng(0)
    masks = [np.zeros((5, 7)), np.ones((5, 7)), np.zeros((2000, 3000))]
    masks += [
        generator.random(generator.integers(1, 90, 2)) < density
        for density in (0.01, 0.1, 0.5, 0.9)
        for _ in range(20)
    ]
    large = np.zeros((1500, 1100))
    large[300:320, 200:900] = 1
    large[310:1300, 500:510] = 1
    return [*masks, large]


@pytest.mark.parametrize('at_once', [1, 300, 200_000])
def test_runs_fill_the_mask(at_once, monkeypatch):
    monkeypatch.setattr(run_lengths, 'AT_ONCE', at_once)
    masks = make_masks()
    expected = [mask.size for mask in masks]
    assert count_pixels([encode(mask) for mask in masks]).tolist() == expected


def test_one_broken_mask_leaves_the_others_alone():
    masks = make_masks()[:4]
    strings = [encode(mask) for mask in masks]
    broken = [b'', b'abc\xff', b'~~', b'0P', b'PPPPPPPPPPPP1', strings[3][:-1]]
    found = count_pixels(
        [
            x
            for pair in zip(broken, [strings[0]] * 6, strict=True)
            for x in pair
        ]
    )
    assert found[1::2].tolist() == [35] * 6
    assert found[:10:2].tolist()[:4] == [-1, -1, -1, -1]
    assert found[8] == -1
    assert found[10] != masks[3].size


def test_nothing():
    assert count_pixels([]).tolist() == []
