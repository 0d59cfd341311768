# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Every implementation of focused attention, and the choice among them."""

import inspect
import os
import subprocess
import sys

import pytest
import torch
from focused_reference import error

from ivit.attention import (
    FocusedLinearAttention,
    focused,
    focused_linear_attention,
    use_implementation,
)
from ivit.attention.focused import chunked, naive

ALL = ['naive', 'chunked', 'triton']


@pytest.fixture(params=ALL)
def implementation(request):
    """The module; the kernels of Triton run in its interpreter."""
    if request.param == 'triton':
        return request.getfixturevalue('interpreted_triton')
    return dict(naive=naive, chunked=chunked)[request.param]


def make(dim=32, dtype=torch.float32):
    """Q, K, V, the scale and the position table, with gradients."""
    torch.manual_seed(0)
    tensors = (
        torch.randn(2, 21, dim),
        torch.randn(2, 37, dim),
        torch.randn(2, 37, dim),
        torch.rand(1, 1, dim) + 0.5,
        torch.randn(1, 37, dim),
    )
    return [x.to(dtype).requires_grad_() for x in tensors]


def test_all_have_the_arguments_of_the_operation(implementation):
    names = list(inspect.signature(focused_linear_attention).parameters)
    assert list(inspect.signature(implementation.attention).parameters) == (
        names
    )


@pytest.mark.parametrize('position', [True, False])
@pytest.mark.parametrize('p', [1, 3, 4.5])
def test_equal_to_the_naive_one(implementation, p, position):
    """Values and gradients, against the formula in float64."""
    tensors = make()
    wide = [x.detach().double().requires_grad_() for x in tensors]

    def run(module, query, key, value, scale, table):
        table = table if position else None
        return module.attention(query, key, value, scale, 2, p, table, None)

    out, expected = run(implementation, *tensors), run(naive, *wide)
    assert error(out, expected) < 1e-5
    used = 5 if position else 4
    grad = torch.randn_like(out)
    for got, wanted in zip(
        torch.autograd.grad(out, tensors[:used], grad),
        torch.autograd.grad(expected, wide[:used], grad.double()),
        strict=True,
    ):
        assert error(got, wanted) < 1e-4


def called(monkeypatch, name):
    """A list that grows with every call of an implementation."""
    calls, module = [], focused.IMPLEMENTATIONS[name]
    attention = module.attention
    monkeypatch.setattr(
        module, 'attention', lambda *x: calls.append(name) or attention(*x)
    )
    return calls


def test_the_choice_while_a_program_runs(monkeypatch):
    attn = FocusedLinearAttention(24, 3, (5, 5)).double()
    x = torch.randn(1, 25, 24).double()
    calls = {n: called(monkeypatch, n) for n in ('naive', 'chunked')}
    expected = attn(x, (5, 5))
    assert (len(calls['naive']), len(calls['chunked'])) == (0, 1)
    with use_implementation('naive'):
        assert error(attn(x, (5, 5)), expected) < 1e-12
        with use_implementation('chunked'):
            attn(x, (5, 5))
        attn(x, (5, 5))
    attn(x, (5, 5))
    assert (len(calls['naive']), len(calls['chunked'])) == (2, 3)


def test_the_choice_ends_with_an_error():
    with pytest.raises(KeyError), use_implementation('naive'):
        raise KeyError
    assert focused._chosen == os.environ.get(focused.VARIABLE, 'auto')


def test_what_an_implementation_does_not_support():
    tensors = make()
    valid = torch.ones(2, 37, dtype=torch.bool)
    focused_linear_attention(*tensors[:4], 2, 3, valid=valid)
    for name in ('chunked', 'triton'):
        with (
            use_implementation(name),
            pytest.raises(ValueError, match=f'the {name} implementation'),
        ):
            focused_linear_attention(*tensors[:4], 2, 3, valid=valid)


def test_an_unknown_name():
    with pytest.raises(ValueError, match="name='fused' must be one of"):
        use_implementation('fused').__enter__()


@pytest.mark.slow
@pytest.mark.parametrize('name', ['naive', 'eager'])
def test_the_environment(name):
    """It is read when the package is imported."""
    code = 'from ivit.attention import focused\nprint(focused._chosen)'
    done = subprocess.run(
        [sys.executable, '-c', code],
        env={**os.environ, focused.VARIABLE: name},
        capture_output=True,
        text=True,
        check=False,
    )
    if name == 'naive':
        assert done.stdout.split()[-1] == 'naive'
    else:
        assert "IVIT_FOCUSED_ATTENTION='eager' must be one" in done.stderr
