# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Position tables against bicubic interpolation written out."""

import copy
import pickle
from math import floor

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode

from ivit.attention import FocusedLinearAttention, ResizedTable, resize_table

GRID = (5, 7)


def cubic(x):
    """Keys' convolution kernel with a = -0.75, as torch has it."""
    x, a = abs(x), -0.75
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def interpolation(size, wanted):
    """Weights ``(wanted, size)`` along a side, cell centres aligned."""
    weights = torch.zeros(wanted, size, dtype=torch.double)
    for i in range(wanted):
        place = (i + 0.5) * size / wanted - 0.5
        for j in range(floor(place) - 1, floor(place) + 3):
            # Beyond the border the border goes on.
            weights[i, min(max(j, 0), size - 1)] += cubic(place - j)
    return weights


def expected(table, hw_shape):
    """``(1, N, C)`` on GRID to ``hw_shape``, a side after the other."""
    maps = table.double().reshape(*GRID, -1)
    rows = interpolation(GRID[0], hw_shape[0])
    columns = interpolation(GRID[1], hw_shape[1])
    return torch.einsum('ih,jw,hwc->ijc', rows, columns, maps).reshape(
        1, -1, table.shape[2]
    )


def table(dtype=torch.float32):
    torch.manual_seed(0)
    return torch.randn(1, GRID[0] * GRID[1], 3, dtype=dtype)


@pytest.mark.parametrize(
    'hw_shape', [(10, 14), (9, 4), (3, 3), (1, 1), (1, 20), (7, 5), (5, 8)]
)
def test_resizing_is_bicubic(hw_shape):
    for dtype, tolerance in {
        torch.float64: 1e-12,
        torch.float32: 1e-5,
        torch.float16: 2e-3,
        torch.bfloat16: 2e-2,
    }.items():
        given = table(dtype)
        resized = resize_table(given, GRID, hw_shape)
        assert resized.dtype == dtype
        torch.testing.assert_close(
            resized.double(), expected(given, hw_shape), rtol=0, atol=tolerance
        )


def test_a_table_of_the_right_size_is_untouched():
    given = table()
    assert resize_table(given, GRID, list(GRID)) is given
    for context in (torch.no_grad, torch.enable_grad, torch.inference_mode):
        with context():
            assert ResizedTable()(given, list(GRID), GRID) is given


@torch.no_grad()
def test_one_size_is_kept():
    resized, given = ResizedTable(), table()
    first = resized(given, GRID, (9, 9))
    assert resized(given, GRID, [9, 9]) is first
    other = resized(given, GRID, (8, 9))
    assert torch.equal(other, resize_table(given, GRID, (8, 9)))
    assert resized(given, GRID, (9, 9)) is not first
    # The same numbers on another grid are another table.
    turned = resized(given, GRID[::-1], (9, 9))
    assert torch.equal(turned, resize_table(given, GRID[::-1], (9, 9)))
    resized.clear()
    assert resized(given, GRID[::-1], (9, 9)) is not turned


def test_nothing_is_kept_with_gradients():
    resized, parameter = ResizedTable(), nn.Parameter(table())
    for _ in range(2):
        parameter.grad = None
        resized(parameter, GRID, (9, 9)).sum().backward()
        # Its weights add up to one at every place.
        torch.testing.assert_close(
            parameter.grad.sum(), torch.tensor(3 * 81.0)
        )
    assert vars(resized) == vars(ResizedTable())


@torch.no_grad()
def test_another_table_at_the_same_address():
    """Freed memory is given out again, so an address is no identity."""
    resized, given = ResizedTable(), None
    for i in range(20):
        del given
        given = torch.full((1, 35, 512), float(i))
        assert (resized(given, GRID, (9, 9)) - i).abs().max() < 1e-4


def build():
    torch.manual_seed(0)
    attn = FocusedLinearAttention(8, 2, GRID).eval()
    nn.init.normal_(attn.positional_encoding)
    return attn


def double_there_and_back(attn):
    attn.double()
    attn.positional_encoding.add_(1e-3)
    attn.float()


def load(attn, assign):
    state = {k: v + 1 for k, v in attn.state_dict().items()}
    attn.load_state_dict(state, assign=assign)


def train_and_eval(attn):
    # What an exponential moving average does to swap the weights.
    attn.positional_encoding.data.copy_(attn.positional_encoding + 1)
    attn.train()
    attn.eval()


CHANGES = {
    'nothing': lambda attn: None,
    'in place': lambda attn: attn.positional_encoding.add_(1),
    'load_state_dict': lambda attn: load(attn, assign=False),
    'assigned': lambda attn: load(attn, assign=True),
    'data': lambda attn: setattr(
        attn.positional_encoding, 'data', attn.positional_encoding + 1
    ),
    'data in place, train, eval': train_and_eval,
    'double': lambda attn: attn.double(),
    'half': lambda attn: attn.half(),
    'double and back': double_there_and_back,
    'another parameter': lambda attn: setattr(
        attn, 'positional_encoding', nn.Parameter(torch.ones(1, 35, 8))
    ),
}


@pytest.mark.parametrize('context', [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize('change', CHANGES)
def test_what_is_kept_is_never_stale(change, context):
    attn = build()
    x = torch.randn(1, 12, 8)
    with context():
        attn(x, (4, 3))
        kept = attn._resized(attn.positional_encoding, GRID, (4, 3))
    with torch.no_grad():
        CHANGES[change](attn)
    with context():
        now = attn._resized(attn.positional_encoding, GRID, (4, 3))
        assert (now is kept) is (change == 'nothing')
        assert torch.equal(
            now, resize_table(attn.positional_encoding, GRID, (4, 3))
        )


def test_kept_in_inference_mode_and_trained():
    attn = build()
    x = torch.randn(1, 12, 8)
    with torch.inference_mode():
        before = attn(x, (4, 3))
    attn(x, (4, 3)).sum().backward()
    assert attn.positional_encoding.grad.abs().max() > 0
    with torch.no_grad():
        assert torch.equal(attn(x, (4, 3)), before)


@pytest.mark.parametrize(
    'duplicate',
    [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))],
)
@torch.no_grad()
def test_copies_have_nothing_kept(duplicate):
    attn = build()
    x = torch.randn(1, 300, 8)
    expected = attn(x, (20, 15))
    assert vars(attn._resized) != vars(ResizedTable())
    twin = duplicate(attn._resized)
    assert vars(twin) == vars(ResizedTable())
    assert torch.equal(duplicate(attn)(x, (20, 15)), expected)


def test_threads_get_the_size_they_ask_for():
    """Another thread's size comes in while the first is at work."""
    resized = ResizedTable()

    class Slow(torch.Tensor):
        meanwhile = None

        def detach(self):
            other, Slow.meanwhile = Slow.meanwhile, None
            if other:
                other()
            return super().detach()

    table = torch.rand(1, 64, 4).as_subclass(Slow)
    with torch.no_grad():
        Slow.meanwhile = lambda: resized(table, (8, 8), (4, 4))
        assert resized(table, (8, 8), (2, 3)).shape[1] == 6


def test_nothing_fake_is_kept():
    with FakeTensorMode(), torch.no_grad():
        model = build()
        model(torch.empty(1, 300, 8), (20, 15))
    assert vars(model._resized) == vars(ResizedTable())


class Owner(nn.Module):
    """A position added to whatever comes."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(table())
        self.resized = ResizedTable()

    def forward(self, x):
        return x + self.resized(self.table, GRID, (4, 3))


@torch.no_grad()
def test_graphs_resize_for_themselves():
    owner, x = Owner(), torch.randn(1, 12, 3)
    expected = owner(x)  # keeps what must not become a constant
    for graph in (
        torch.jit.trace(owner, x),
        torch.export.export(owner, (x,)).module(),
    ):
        torch.testing.assert_close(graph(x), expected)
        assert 'upsample_bicubic2d' in str(graph.graph)
    torch.testing.assert_close(owner(x), expected)
