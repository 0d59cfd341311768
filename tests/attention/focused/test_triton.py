# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Triton kernels of focused attention: interpreted on CPU, real on CUDA."""

import pytest
import torch
from focused_reference import error, reference_attention
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.flop_counter import FlopCounterMode

triton = pytest.importorskip('triton')

from ivit.attention import (  # noqa: E402
    focused,
    focused_linear_attention,
    use_implementation,
)
from ivit.attention.focused.triton import operator, supports  # noqa: E402

NAMES = ('query', 'key', 'value', 'scale', 'position')
on_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='the kernels as compiled need CUDA'
)


def make(batch, queries, keys, dim, table, dtype, device='cpu'):
    """Q, K, V, the scale and the position, in the order of NAMES."""
    torch.manual_seed(0)
    # Views of one tensor, as after one product for all three.
    tokens = torch.randn(batch, max(queries, keys), 3 * dim, device=device)
    for part in (slice(0, dim), slice(dim, 2 * dim)):
        tokens[:, :2, part] = -1 - tokens[:, :2, part].abs()
    query, key, value = tokens.to(dtype).chunk(3, -1)
    position = torch.randn(1, keys, dim, device=device) / 2 if table else None
    scale = torch.rand(1, 1, dim, device=device) + 0.5
    tokens = query[:, :queries], key[:, :keys], value[:, :keys]
    return *tokens, scale, position


def kernels(query, key, value, scale, position, heads, p):
    """The operation in kernels, with heads and p behind the tensors."""
    return operator.attention(
        query, key, value, scale, heads, p, position, None
    )


def in_double(inputs):
    return [x if x is None else x.detach().double() for x in inputs]


def reference(query, key, value, scale, position, heads, p):
    if position is not None:
        key = key + position
    return reference_attention(query, key, value, scale, heads, p)


def errors(inputs, heads, p, attend=kernels):
    """Of the output and of all gradients, by name."""
    wide = in_double(inputs)
    leaves = [x if x is None else x.detach() for x in inputs]
    for x in (*wide, *leaves):
        if x is not None:
            x.requires_grad_()
    expected = reference(*wide, heads, p)
    out = attend(*leaves, heads, p)
    assert out.dtype == leaves[2].dtype
    grad = torch.randn_like(out)
    expected.backward(grad.double())
    out.backward(grad)
    found = {'out': error(out, expected)}
    for name, x, y in zip(NAMES, leaves, wide, strict=True):
        if x is not None:
            assert x.grad.dtype == x.dtype
            found[name] = error(x.grad, y.grad)
    return found


def too_large(found, limit):
    return {name: x for name, x in found.items() if not x < limit}


@pytest.mark.filterwarnings('ignore:divide by zero')  # log2(0), of absent
@pytest.mark.parametrize(
    ('sizes', 'heads', 'p', 'table', 'dtype'),
    [
        ((2, 37, 37, 96), 3, 3, True, torch.float32),
        # A token less than a block; two chunks and a token.
        ((1, 63, 513, 32), 1, 4, True, torch.float32),
        ((1, 300, 2, 64), 1, 2.5, False, torch.float32),
        ((1, 1, 9, 32), 2, 1, False, torch.float32),
        ((2, 140, 140, 48), 3, 2, False, torch.float32),
        ((1, 33, 33, 320), 10, 3, True, torch.bfloat16),
        pytest.param(
            *((2, 65, 65, 192), 6, 3, True, torch.float16),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_values_and_gradients(
    interpreted_triton, sizes, heads, p, table, dtype
):
    inputs = make(*sizes, table, dtype)
    found = errors(inputs, heads, p)
    assert too_large(found, 1e-4 if dtype == torch.float32 else 1e-2) == {}


def test_values_about_a_mean(interpreted_triton):
    """Gradients of Q and K are small differences there."""
    inputs = list(make(1, 140, 140, 32, True, torch.bfloat16))
    inputs[2] = (1 + inputs[2].float() / 4).bfloat16()
    assert too_large(errors(inputs, 1, 3), 1e-2) == {}


def check_numbers_of_any_size(device):
    """What overflows on the way, and tokens that have nothing positive."""
    sizes = 1, 40, 40, 32, False, torch.float16, device
    query, key, value, *_ = make(*sizes)
    query, key = query * 3000, -key.abs()
    query[0, 5] = 6e4
    scale = torch.full((1, 1, 32), 2e-9, device=device)
    inputs = query, key, value, scale, None
    with torch.no_grad():
        out = kernels(*inputs, 2, 4)
    assert error(out, reference(*in_double(inputs), 2, 4)) < 1e-2
    value[0, 7, 3] = query[0, 2, 20] = torch.nan
    with torch.no_grad():
        out = kernels(query, key, value, scale, None, 2, 4)
    lost = out.isnan()
    assert lost[0, :, 3].all() and lost[0, 2].all()
    assert lost.sum() == 40 + 31


def test_numbers_of_any_size(interpreted_triton):
    check_numbers_of_any_size('cpu')


@on_cuda
def test_numbers_of_any_size_on_cuda():
    check_numbers_of_any_size('cuda')


@pytest.mark.parametrize('table', [True, False])
def test_second_order(interpreted_triton, table):
    inputs = make(1, 6, 7, 32, table, torch.float32)
    results = []
    for attend, given in (
        (kernels, inputs),
        (reference, in_double(inputs)),
    ):
        given = [x if x is None else x.detach() for x in given]
        leaves = [x.requires_grad_() for x in given if x is not None]
        out = attend(*given, 2, 3)
        first = torch.autograd.grad(
            out.square().sum(), leaves, create_graph=True
        )
        penalty = sum(x.square().sum() for x in first)
        results.append(torch.autograd.grad(penalty, leaves))
    for x, y in zip(*results, strict=True):
        assert error(x, y) < 1e-4


@pytest.mark.slow
def test_compiled_once_for_all_sizes(interpreted_triton):
    graphs = CompileCounterWithBackend('aot_eager')
    attend = torch.compile(
        kernels, backend=graphs, fullgraph=True, dynamic=True
    )
    for tokens in (9, 37, 70):
        inputs = make(2, tokens, tokens, 32, True, torch.float32)
        assert too_large(errors(inputs, 2, 3, attend), 1e-4) == {}
    assert graphs.frame_count == 1


def test_operators_are_what_they_say(interpreted_triton):
    inputs = make(1, 5, 9, 32, True, torch.float32)
    for x in inputs:
        x.requires_grad_()
    checks = 'test_schema', 'test_autograd_registration', 'test_faketensor'
    operators = torch.ops.ivit
    *tensors, position = inputs
    arguments = (*tensors, 2, 3.0, position)
    torch.library.opcheck(
        operators.focused_attention, arguments, test_utils=checks
    )
    out, *kept = operators.focused_attention(*arguments)
    torch.library.opcheck(
        operators.focused_attention_backward,
        (torch.ones_like(out), *arguments, *kept),
        test_utils=checks,
    )


def test_cost_is_the_formula(interpreted_triton):
    inputs = [x.detach() for x in make(2, 5, 9, 32, True, torch.float32)]
    inputs[0].requires_grad_()
    with FlopCounterMode(display=False) as counter:
        out = kernels(*inputs, 2, 3)
        # K^T V of 9 tokens and Q (K^T V) of 5, each 32 channels of 16.
        flops = 2 * 2 * (9 + 5) * 32 * 16
        assert counter.get_total_flops() == flops
        out.sum().backward()
    assert counter.get_total_flops() == 3 * flops


def test_not_supported():
    query, key, value, *_ = make(1, 5, 5, 32, False, torch.float32)
    assert not supports(query, key, value, 2, None)  # on CPU


def test_the_operation_takes_the_kernels(interpreted_triton, monkeypatch):
    """As on a GPU, where the kernels come first."""
    query, key, value, scale, position = make(1, 9, 9, 32, True, torch.float32)
    taken = []
    monkeypatch.setattr(
        interpreted_triton,
        'supports',
        lambda *x: x[-1] is None and not taken.append(x),
    )
    monkeypatch.setattr(
        focused,
        'IMPLEMENTATIONS',
        {'triton': interpreted_triton, **focused.IMPLEMENTATIONS},
    )
    out = focused_linear_attention(query, key, value, scale, 2, 3, position)
    assert len(taken) == 1
    wide = [x.double() for x in (query, key + position, value, scale)]
    assert error(out, reference_attention(*wide, 2, 3)) < 1e-4
    with use_implementation('naive'):
        focused_linear_attention(query, key, value, scale, 2, 3, position)
    assert len(taken) == 1
    # A mask is for the formula.
    valid = torch.ones(1, 9, dtype=torch.bool)
    focused_linear_attention(query, key, value, scale, 2, 3, valid=valid)
    assert len(taken) == 1


@on_cuda
@pytest.mark.parametrize(
    'dtype', [torch.float32, torch.float16, torch.bfloat16]
)
@pytest.mark.parametrize(
    ('sizes', 'heads', 'p', 'table'),
    [
        ((1, 67200, 67200, 96), 3, 3, True),
        ((2, 16800, 16800, 192), 6, 3, True),
        ((3, 49, 1050, 768), 24, 4, True),
        ((2, 1025, 1025, 64), 1, 2.5, False),
        ((2, 513, 77, 48), 3, 1, False),
    ],
)
def test_on_cuda(sizes, heads, p, table, dtype):
    inputs = make(*sizes, table, dtype, 'cuda')
    assert supports(*inputs[:3], heads, None)
    found = errors(inputs, heads, p)
    assert too_large(found, 1e-3 if dtype == torch.float32 else 1e-2) == {}


@on_cuda
def test_choice_of_kernels():
    query, key, value, *_ = make(1, 5, 5, 192, False, torch.float16, 'cuda')
    assert supports(query, key, value, 6, None)
    assert not supports(query, key, value, 1, None)  # heads of 192
    assert not supports(query, key, value, 24, None)  # heads of 8
    assert not supports(query.double(), key, value, 6, None)
    assert not supports(query, key, value, 6, value[..., 0] > 0)
    wide = torch.zeros(1, 5, 2048, device='cuda')
    assert not supports(wide, wide, wide, 64, None)


@on_cuda
def test_the_same_bits_every_time():
    inputs = make(2, 5000, 5000, 96, True, torch.bfloat16, 'cuda')
    runs = []
    for _ in range(2):
        leaves = [x.detach().requires_grad_() for x in inputs]
        out = kernels(*leaves, 3, 3)
        out.sum().backward()
        runs.append([out, *(x.grad for x in leaves)])
    assert all(map(torch.equal, *runs))
