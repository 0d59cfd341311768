# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Triton kernels of focused attention: interpreted on CPU, real on CUDA."""

import importlib.util
import sys

import pytest
import torch
from focused_reference import error, reference_attention
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.flop_counter import FlopCounterMode

triton = pytest.importorskip('triton')
tl = triton.language

from ivit.attention import (  # noqa: E402
    focused,
    focused_launch,
    focused_linear_attention,
)
from ivit.attention.focused_triton import (  # noqa: E402
    fused_focused_attention,
    supported,
)

NAMES = ('query', 'key', 'position', 'value', 'scale')
on_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='the kernels as compiled need CUDA'
)


def cut(x):
    """What a tensor core reads of a float32 number for TF32."""
    return (x.to(tl.int32, bitcast=True) & -0x2000).to(
        tl.float32, bitcast=True
    )


def product(a, b, PRECISION):  # noqa: N803
    """The kernels' product, where the interpreter knows no TF32."""
    if PRECISION == 'tf32':
        a, b = cut(a), cut(b)
    return tl.dot(a, b)


@pytest.fixture
def interpreted():
    """The kernels in Triton's interpreter, as copies of their modules.

    Triton decides it where a kernel is decorated, and what it brings itself
    is decorated already, so that is decorated anew for as long.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('TRITON_INTERPRET', '1')
        for name in ('sum', 'max'):
            patch.setattr(tl, name, triton.jit(getattr(tl, name).fn))
        replaced = {x: triton.jit(x) for x in (cut, product)}
        patch.setitem(globals(), 'cut', replaced[cut])
        for short in ('kernels', 'grad_kernels'):
            name = getattr(focused_launch, short).__name__
            spec = importlib.util.find_spec(name)
            copy = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, name, copy)
            spec.loader.exec_module(copy)
            assert hasattr(copy, 'product')
            copy.product = replaced[product]
            patch.setattr(focused_launch, short, copy)
        yield


def make(batch, queries, keys, dim, table, dtype, device='cpu'):
    """Q, K, the position, V and the scale, in the order of NAMES."""
    torch.manual_seed(0)
    # Views of one tensor, as after one product for all three.
    tokens = torch.randn(batch, max(queries, keys), 3 * dim, device=device)
    for part in (slice(0, dim), slice(dim, 2 * dim)):
        tokens[:, :2, part] = -1 - tokens[:, :2, part].abs()
    query, key, value = tokens.to(dtype).chunk(3, -1)
    position = torch.randn(1, keys, dim, device=device) / 2 if table else None
    scale = torch.rand(1, 1, dim, device=device) + 0.5
    inputs = query[:, :queries], key[:, :keys], position, value[:, :keys]
    return *inputs, scale


def in_double(inputs):
    return [x if x is None else x.detach().double() for x in inputs]


def reference(query, key, position, value, scale, heads, p):
    if position is not None:
        key = key + position
    return reference_attention(query, key, value, scale, heads, p)


def errors(inputs, heads, p, attend=fused_focused_attention):
    """Of the output and of all gradients, by name."""
    wide = in_double(inputs)
    leaves = [x if x is None else x.detach() for x in inputs]
    for x in (*wide, *leaves):
        if x is not None:
            x.requires_grad_()
    expected = reference(*wide, heads, p)
    out = attend(*leaves, heads, p)
    assert out.dtype == leaves[3].dtype
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
        ((2, 65, 65, 192), 6, 3, True, torch.float16),
    ],
)
def test_values_and_gradients(interpreted, sizes, heads, p, table, dtype):
    inputs = make(*sizes, table, dtype)
    found = errors(inputs, heads, p)
    assert too_large(found, 1e-4 if dtype == torch.float32 else 1e-2) == {}


def test_values_about_a_mean(interpreted):
    """Gradients of Q and K are small differences there."""
    inputs = list(make(1, 140, 140, 32, True, torch.bfloat16))
    inputs[3] = (1 + inputs[3].float() / 4).bfloat16()
    assert too_large(errors(inputs, 1, 3), 1e-2) == {}


def check_numbers_of_any_size(device):
    """What overflows on the way, and tokens that have nothing positive."""
    sizes = 1, 40, 40, 32, False, torch.float16, device
    query, key, _, value, _ = make(*sizes)
    query, key = query * 3000, -key.abs()
    query[0, 5] = 6e4
    scale = torch.full((1, 1, 32), 2e-9, device=device)
    inputs = query, key, None, value, scale
    with torch.no_grad():
        out = fused_focused_attention(*inputs, 2, 4)
    assert error(out, reference(*in_double(inputs), 2, 4)) < 1e-2
    value[0, 7, 3] = query[0, 2, 20] = torch.nan
    with torch.no_grad():
        out = fused_focused_attention(query, key, None, value, scale, 2, 4)
    lost = out.isnan()
    assert lost[0, :, 3].all() and lost[0, 2].all()
    assert lost.sum() == 40 + 31


def test_numbers_of_any_size(interpreted):
    check_numbers_of_any_size('cpu')


@on_cuda
def test_numbers_of_any_size_on_cuda():
    check_numbers_of_any_size('cuda')


@pytest.mark.parametrize('table', [True, False])
def test_second_order(interpreted, table):
    inputs = make(1, 6, 7, 32, table, torch.float32)
    results = []
    for attend, given in (
        (fused_focused_attention, inputs),
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


def test_compiled_once_for_all_sizes(interpreted):
    graphs = CompileCounterWithBackend('aot_eager')
    attend = torch.compile(
        fused_focused_attention, backend=graphs, fullgraph=True, dynamic=True
    )
    for tokens in (9, 37, 70):
        inputs = make(2, tokens, tokens, 32, True, torch.float32)
        assert too_large(errors(inputs, 2, 3, attend), 1e-4) == {}
    assert graphs.frame_count == 1


def test_operators_are_what_they_say(interpreted):
    inputs = make(1, 5, 9, 32, True, torch.float32)
    for x in inputs:
        x.requires_grad_()
    checks = 'test_schema', 'test_autograd_registration', 'test_faketensor'
    operators = torch.ops.ivit
    torch.library.opcheck(
        operators.focused_attention, (*inputs, 2, 3.0), test_utils=checks
    )
    out, *kept = operators.focused_attention(*inputs, 2, 3.0)
    torch.library.opcheck(
        operators.focused_attention_backward,
        (torch.ones_like(out), *inputs, 2, 3.0, *kept),
        test_utils=checks,
    )


def test_cost_is_the_formula(interpreted):
    inputs = [x.detach() for x in make(2, 5, 9, 32, True, torch.float32)]
    inputs[0].requires_grad_()
    with FlopCounterMode(display=False) as counter:
        out = fused_focused_attention(*inputs, 2, 3)
        # K^T V of 9 tokens and Q (K^T V) of 5, each 32 channels of 16.
        flops = 2 * 2 * (9 + 5) * 32 * 16
        assert counter.get_total_flops() == flops
        out.sum().backward()
    assert counter.get_total_flops() == 3 * flops


def test_not_supported():
    query, key, _, value, _ = make(1, 5, 5, 32, False, torch.float32)
    assert not supported(query, key, value, 2)  # on CPU


@pytest.mark.usefixtures('interpreted')
def test_the_layer_takes_the_kernels(monkeypatch):
    """As on a GPU, where tokens do not go in blocks."""
    query, key, position, value, scale = make(1, 9, 9, 32, True, torch.float32)
    taken = []
    monkeypatch.setattr(focused, 'go_in_blocks', lambda x: False)
    monkeypatch.setattr(
        focused, 'supported', lambda *x: not taken.append(x), raising=False
    )
    monkeypatch.setattr(
        focused, 'fused_focused_attention', fused_focused_attention
    )
    out = focused_linear_attention(
        query, key, value, scale, 2, 3, position=position
    )
    assert len(taken) == 1
    wide = [x.double() for x in (query, key + position, value, scale)]
    assert error(out, reference_attention(*wide, 2, 3)) < 1e-4
    # A mask is for the formula.
    valid = torch.ones(1, 9, dtype=torch.bool)
    focused_linear_attention(query, key, value, scale, 2, 3, valid)
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
    assert supported(*inputs[:2], inputs[3], heads)
    found = errors(inputs, heads, p)
    assert too_large(found, 1e-3 if dtype == torch.float32 else 1e-2) == {}


@on_cuda
def test_choice_of_kernels():
    query, key, _, value, _ = make(1, 5, 5, 192, False, torch.float16, 'cuda')
    assert supported(query, key, value, 6)
    assert not supported(query, key, value, 1)  # heads of 192
    assert not supported(query, key, value, 24)  # heads of 8
    assert not supported(query.double(), key, value, 6)
    assert not supported(query, key, value, 6, value[..., 0] > 0)
    wide = torch.zeros(1, 5, 2048, device='cuda')
    assert not supported(wide, wide, wide, 64)


@on_cuda
def test_the_same_bits_every_time():
    inputs = make(2, 5000, 5000, 96, True, torch.bfloat16, 'cuda')
    runs = []
    for _ in range(2):
        leaves = [x.detach().requires_grad_() for x in inputs]
        out = fused_focused_attention(*leaves, 3, 3)
        out.sum().backward()
        runs.append([out, *(x.grad for x in leaves)])
    assert all(map(torch.equal, *runs))
