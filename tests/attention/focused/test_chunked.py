# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Chunk by chunk or by the formula, focused attention is the same."""

import pytest
import torch
from focused_reference import error, reference_attention

from ivit.attention import (
    chunks,
    focused_linear_attention,
)
from ivit.attention.focused import chunked, naive

# Batch, queries, keys, channels, heads, p.
CASES = [
    (1, 50, 50, 12, 3, 3),
    (2, 7, 33, 8, 2, 4),
    (5, 3, 3, 8, 1, 2.5),
    (2, 1, 1, 6, 3, 3),
    (2, 9, 20, 8, 1, 1),
]


@pytest.fixture(params=[8, 40, 1 << 17])
def chunk(request, monkeypatch):
    """A token at a time, parts of images, everything at once."""
    monkeypatch.setattr(chunks, 'CHUNK_ELEMENTS', request.param)


def make(batch, queries, keys, dim, dtype=torch.float64):
    torch.manual_seed(0)
    return [
        x.to(dtype).requires_grad_()
        for x in (
            torch.randn(batch, queries, dim),
            torch.randn(batch, keys, dim),
            torch.randn(batch, keys, dim),
            torch.rand(1, 1, dim) + 0.3,
            torch.randn(1, keys, dim),
        )
    ]


def attend(query, key, value, scale, position, heads, p):
    return focused_linear_attention(
        query, key, value, scale, heads, p, position=position
    )


def expected_of(query, key, value, scale, position, heads, p):
    return reference_attention(query, key + position, value, scale, heads, p)


@pytest.mark.parametrize('size', [(1, 50, 8), (7, 9, 4), (3, 1, 100)])
@pytest.mark.usefixtures('chunk')
def test_chunks_cover_everything_once(size):
    seen = torch.zeros(size)
    for at in chunks.chunks(*size):
        seen[at] += 1
        assert seen[at].numel() <= max(chunks.CHUNK_ELEMENTS, size[2])
    assert (seen == 1).all()


@pytest.mark.parametrize('case', CASES)
@pytest.mark.usefixtures('chunk')
def test_values_and_gradients(case):
    *sizes, heads, p = case
    tensors = make(*sizes)
    out = attend(*tensors, heads, p)
    expected = expected_of(*tensors, heads, p)
    assert error(out, expected) < 1e-12
    grad = torch.randn_like(out)
    for got, wanted in zip(
        torch.autograd.grad(out, tensors, grad),
        torch.autograd.grad(expected, tensors, grad),
        strict=True,
    ):
        assert error(got, wanted) < 1e-9


@pytest.mark.parametrize(
    'case',
    [
        pytest.param(case, marks=[] if case == CASES[3] else pytest.mark.slow)
        for case in CASES[2:]
    ],
)
def test_second_derivatives(case, monkeypatch):
    monkeypatch.setattr(chunks, 'CHUNK_ELEMENTS', 8)
    *sizes, heads, p = case
    tensors = make(*sizes)

    def function(*tensors):
        return attend(*tensors, heads, p)

    assert torch.autograd.gradcheck(function, tensors)
    assert torch.autograd.gradgradcheck(function, tensors)


@pytest.mark.parametrize('frozen', range(5))
def test_what_needs_no_gradient_gets_none(frozen):
    for create_graph in (False, True):
        tensors = make(2, 4, 5, 6)
        tensors[frozen].requires_grad_(False)
        out = attend(*tensors, 2, 3)
        out.sum().backward(create_graph=create_graph)
        for i, tensor in enumerate(tensors):
            assert (tensor.grad is None) == (i == frozen)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_16_bits(dtype):
    tensors = make(2, 30, 30, 12, dtype)
    # The scale, and sums, are in float32.
    tensors[3] = tensors[3].detach().float().requires_grad_()
    out = attend(*tensors, 3, 3)
    assert out.dtype == dtype
    wide = [x.detach().double().requires_grad_() for x in tensors]
    expected = expected_of(*wide, 3, 3)
    assert error(out, expected) < torch.finfo(dtype).eps
    grad = torch.randn_like(expected)
    for x, got, wanted in zip(
        tensors,
        torch.autograd.grad(out, tensors, grad.to(dtype)),
        torch.autograd.grad(expected, wide, grad.to(dtype).double()),
        strict=True,
    ):
        assert got.dtype == x.dtype
        assert error(got, wanted) < 2 * torch.finfo(dtype).eps


def test_in_parts_of_one_product():
    """Q, K and V as they come from one projection, with gaps between."""
    torch.manual_seed(0)
    qkv = torch.randn(2, 20, 36).double().requires_grad_()
    scale = torch.ones(1, 1, 12).double()
    out = focused_linear_attention(*qkv.chunk(3, -1), scale, 3)
    (grad,) = torch.autograd.grad(out.square().sum(), qkv)
    expected = reference_attention(*qkv.chunk(3, -1), scale, 3, 3)
    (wanted,) = torch.autograd.grad(expected.square().sum(), qkv)
    assert error(out, expected) < 1e-12 and error(grad, wanted) < 1e-9


@pytest.mark.parametrize('value', [-1.0, 1e2, 1e-4])
def test_extreme_tokens(value):
    """All negative, large and small."""
    tensors = make(1, 6, 6, 8, torch.float32)
    with torch.no_grad():
        tensors[0][:, 2] = value * torch.rand(8)
        tensors[1][:, 3] = value * torch.rand(8)
        tensors[4].zero_()
    out = attend(*tensors, 2, 4)
    wide = [x.detach().double().requires_grad_() for x in tensors]
    expected = expected_of(*wide, 2, 4)
    assert error(out, expected) < 1e-5
    grad = torch.randn_like(out)
    for got, wanted in zip(
        torch.autograd.grad(out, tensors, grad),
        torch.autograd.grad(expected, wide, grad.double()),
        strict=True,
    ):
        assert error(got, wanted) < 1e-4


@pytest.mark.parametrize('value', [6e4, 1e15, 1e-30])
def test_gradients_of_huge_and_tiny_tokens_are_finite(value):
    # They are small differences of large numbers: no digit is sure.
    tensors = make(1, 6, 6, 8, torch.float32)
    with torch.no_grad():
        for x in tensors[:2]:
            x[:, :3] *= value
    for grad in torch.autograd.grad(attend(*tensors, 2, 4).sum(), tensors):
        assert grad.isfinite().all()


def test_graphs_are_made_of_the_formula(monkeypatch):
    """Compilers and exporters fuse what they see themselves."""
    tensors = make(1, 8, 8, 6)

    def refuse(*args):
        raise AssertionError('chunks in a graph')

    monkeypatch.setattr(chunked.ChunkedAttention, 'forward', refuse)
    compiled = torch.compile(attend, backend='eager', fullgraph=True)
    traced = torch.jit.trace(
        lambda *x: attend(*x, 2, 3), tensors, check_trace=False
    )
    expected = naive.attention(*tensors[:4], 2, 3, tensors[4], None)
    assert error(compiled(*tensors, 2, 3), expected) < 1e-12
    assert error(traced(*tensors), expected) < 1e-12
    with pytest.raises(AssertionError, match='chunks in a graph'):
        attend(*tensors, 2, 3)
