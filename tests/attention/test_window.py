# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Windows and the softmax inside them, against plain loops over the map."""

import itertools

import pytest
import torch
from torch._subclasses import FakeTensorMode

from ivit.attention import (
    merge_windows,
    split_windows,
    window_attention,
    window_regions,
)
from ivit.attention import window as window_module

# Map, window and shift: whole windows, odd sizes, other sides, smaller than
# a window, stripes, a single token.
CASES = [
    ((8, 8), (4, 4), (0, 0)),
    ((8, 8), (4, 4), (2, 2)),
    ((7, 10), (4, 4), (2, 2)),
    ((9, 5), (3, 4), (1, 2)),
    ((7, 11), (4, 3), (0, 1)),
    ((3, 2), (4, 4), (0, 0)),
    ((5, 6), (7, 2), (0, 0)),
    ((3, 9), (4, 4), (0, 2)),
    ((1, 1), (7, 7), (0, 0)),
]
HEADS, DIM = 2, 6


def windows_of(hw_shape, window, shift):
    """For every window, its places: a token of the map or None.

    Shifted windows start ``shift`` rows and columns down and right of the
    corner, and the last go on at the other border, of the padded map.
    """
    padded = [-(-n // w) * w for n, w in zip(hw_shape, window, strict=True)]
    for top, left in itertools.product(
        range(0, padded[0], window[0]), range(0, padded[1], window[1])
    ):
        places = []
        for i, j in itertools.product(range(window[0]), range(window[1])):
            row = (top + i + shift[0]) % padded[0]
            column = (left + j + shift[1]) % padded[1]
            wrapped = (
                top + i + shift[0] >= padded[0],
                left + j + shift[1] >= padded[1],
            )
            inside = row < hw_shape[0] and column < hw_shape[1]
            token = row * hw_shape[1] + column if inside else None
            places.append((token, wrapped))
        yield places


def reference(query, key, value, hw_shape, window, shift, bias):
    """Every token of the map for itself, in float64."""
    out = torch.zeros_like(query)
    width = DIM // HEADS
    for places in windows_of(hw_shape, window, shift):
        for a, (token, region) in enumerate(places):
            if token is None:
                continue
            seen = [
                (b, other)
                for b, (other, its_region) in enumerate(places)
                if other is not None and its_region == region
            ]
            others = [other for _, other in seen]
            for head in range(HEADS):
                part = slice(head * width, (head + 1) * width)
                logits = (
                    query[:, token, None, part] * key[:, others, part]
                ).sum(-1) / width**0.5
                if bias is not None:
                    logits = logits + bias[head, a, [b for b, _ in seen]]
                weights = logits.exp() / logits.exp().sum(-1, keepdim=True)
                out[:, token, part] = (
                    weights[..., None] * value[:, others, part]
                ).sum(1)
    return out


def tokens(hw_shape, window, dtype=torch.double):
    torch.manual_seed(0)
    number, size = hw_shape[0] * hw_shape[1], window[0] * window[1]
    bias = torch.randn(HEADS, size, size, dtype=dtype)
    return *torch.randn(3, 2, number, DIM, dtype=dtype).unbind(), bias


def attend(query, key, value, hw_shape, window, shift, bias):
    parts = (
        split_windows(x, hw_shape, window, shift) for x in (query, key, value)
    )
    out = window_attention(*parts, HEADS, hw_shape, window, shift, bias)
    return merge_windows(out, hw_shape, window, shift)


@pytest.mark.parametrize(('hw_shape', 'window', 'shift'), CASES)
def test_split_windows(hw_shape, window, shift):
    number = hw_shape[0] * hw_shape[1]
    x = 1 + torch.arange(2.0 * number * 3).view(2, number, 3)
    windows = split_windows(x, hw_shape, window, shift)
    expected = [
        [
            torch.zeros(2, 3) if token is None else x[:, token]
            for token, _ in places
        ]
        for places in windows_of(hw_shape, window, shift)
    ]
    expected = torch.stack([torch.stack(part, 1) for part in expected], 1)
    assert torch.equal(windows, expected)
    assert torch.equal(merge_windows(windows, hw_shape, window, shift), x)


@pytest.mark.parametrize(('hw_shape', 'window', 'shift'), CASES)
def test_window_regions(hw_shape, window, shift):
    regions = window_regions(hw_shape, window, shift)
    for i, places in enumerate(windows_of(hw_shape, window, shift)):
        for (a, first), (b, second) in itertools.product(
            enumerate(places), repeat=2
        ):
            together = (first[0] is None) == (second[0] is None) and (
                first[0] is None or first[1] == second[1]
            )
            if regions is None:
                assert together
            else:
                assert (regions[i, a] == regions[i, b]).item() is together
        if regions is not None:
            padding = torch.tensor([token is None for token, _ in places])
            assert torch.equal(regions[i] == -1, padding)


@pytest.mark.parametrize('with_bias', [True, False])
@pytest.mark.parametrize(('hw_shape', 'window', 'shift'), CASES)
def test_equals_the_plain_loop(hw_shape, window, shift, with_bias):
    query, key, value, bias = tokens(hw_shape, window)
    if not with_bias:
        bias = None
    case = hw_shape, window, shift
    expected = reference(query, key, value, *case, bias)
    torch.testing.assert_close(
        attend(query, key, value, *case, bias), expected, rtol=0, atol=1e-12
    )
    # In float32 a bias that learns goes another way.
    if with_bias:
        bias = bias.float().requires_grad_()
    out = attend(query.float(), key.float(), value.float(), *case, bias)
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize('learns', [True, False])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(('hw_shape', 'window', 'shift'), CASES)
def test_half_precision(hw_shape, window, shift, dtype, learns):
    case = hw_shape, window, shift
    single = [x * 3 for x in tokens(hw_shape, window, torch.float32)]
    given = [x.to(dtype) for x in single]
    bias = single[3].requires_grad_(learns)
    expected = reference(*(x.double() for x in given[:3]), *case, bias)
    limit = 4 * torch.finfo(dtype).eps * expected.abs().max()
    out = attend(*given[:3], *case, bias)
    assert out.dtype == dtype
    assert (out.double() - expected).abs().max() < limit
    expected = reference(*(x.double() for x in single[:3]), *case, bias)
    with torch.autocast('cpu', dtype):
        out = attend(*single[:3], *case, bias)
    assert (out.double() - expected).abs().max() < 2 * limit


@pytest.mark.parametrize(('hw_shape', 'window', 'shift'), CASES)
def test_gradients(hw_shape, window, shift):
    case = hw_shape, window, shift
    given = [x.requires_grad_() for x in tokens(hw_shape, window)]
    expected = reference(*given[:3], *case, given[3])
    upstream = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, given, upstream)
    for dtype, tolerance in {torch.double: 1e-11, torch.float: 1e-4}.items():
        ours = [x.detach().to(dtype).requires_grad_() for x in given]
        out = attend(*ours[:3], *case, ours[3])
        found = torch.autograd.grad(out, ours, upstream.to(dtype))
        for ours_, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(
                ours_.double(), theirs, rtol=0, atol=tolerance
            )
    if hw_shape != (1, 1):  # whose one weight is 1 whatever the bias
        assert wanted[3].abs().max() > 1e-3


@pytest.mark.parametrize('learns', [True, False])
def test_what_lies_in_the_padding_does_not_come_in(learns):
    """Places of padding, whatever is there, change no bit."""
    hw_shape, window, shift = (5, 6), (4, 4), (2, 2)
    query, key, value, bias = tokens(hw_shape, window, torch.float32)
    bias.requires_grad_(learns)
    outs = []
    for garbage in (0.0, 1e30):
        parts = [
            split_windows(x, hw_shape, window, shift)
            for x in (query, key, value)
        ]
        absent = window_regions(hw_shape, window, shift) < 0
        for part in parts[1:]:
            part[:, absent] = garbage
        out = window_attention(*parts, HEADS, hw_shape, window, shift, bias)
        outs.append(merge_windows(out, hw_shape, window, shift))
    assert outs[0].isfinite().all()
    assert torch.equal(*outs)


def test_masks_are_made_once_for_a_size():
    device = torch.device('cpu')
    case = (13, 9), (4, 4), (2, 2), device
    mask = window_module._window_mask(*case)
    query, key, value, bias = tokens((13, 9), (4, 4))
    before = window_module._window_mask.cache_info().misses
    attend(query, key, value, *case[:3], bias)
    assert window_module._window_mask.cache_info().misses == before
    assert window_module._window_mask(*case) is mask
    # A shift along one side is a case of its own.
    other = window_module._window_mask((13, 9), (4, 4), (2, 0), device)
    assert not torch.equal(other, mask)


def test_masks_made_in_inference_mode_serve_training():
    for case in (((5, 5), (6, 6), (0, 0)), ((11, 5), (6, 6), (3, 0))):
        window_regions.cache_clear()
        window_module._window_mask.cache_clear()
        given = tokens(*case[:2], torch.float32)
        for bias in (None, given[3]):
            with torch.inference_mode():
                expected = attend(*given[:3], *case, bias)
            query = given[0].clone().requires_grad_()
            out = attend(query, *given[1:3], *case, bias)
            out.sum().backward()
            torch.testing.assert_close(out, expected)


def test_masks_without_numbers_are_not_kept():
    """What a graph is traced with must not meet a map."""
    x = torch.randn(1, 30, 4)

    def run(x):
        parts = [split_windows(x, (5, 6), (3, 3), (1, 1))] * 3
        return window_attention(*parts, 2, (5, 6), (3, 3), (1, 1))

    window_regions.cache_clear()
    window_module._window_mask.cache_clear()
    expected = run(x)
    window_regions.cache_clear()
    window_module._window_mask.cache_clear()
    for _ in range(2):
        with FakeTensorMode():
            assert run(torch.empty(1, 30, 4)).shape == expected.shape
    assert torch.equal(run(x), expected)
