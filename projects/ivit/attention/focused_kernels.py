# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Arguments of kernels are pointers and strides, and capital constants.
# ruff: noqa: ANN001, ANN201, N803
"""Triton kernels of focused linear attention, arXiv 2308.00442.

Symbols as in :mod:`ivit.attention.focused`; t = (ReLU(x) + 1e-6) / scale, so
that phi = ||t|| t^p / ||t^p||.

The norms run over all channels of a token, the products over those of one
head. So ``measure_tokens`` first leaves three numbers per token, and from
then on a program works on one head of one block of tokens. Where tokens are
summed, it sums a few blocks and writes its part: no atomics, the same bits
every time.

Names of arguments: ``x_b`` and ``x_n`` are the strides of a batch and of a
token of x. Capitals are constants: H heads of D channels, P the focusing
factor, WIDTH and HEADS powers of two of at least C and H, BLOCK tokens in a
block, STEPS blocks in a chunk, PRECISION that of the matrix products. All
arithmetic is in float32.
"""

import triton
import triton.language as tl

EPS = tl.constexpr(1e-6)
# One compiled kernel for all sizes, multiples of 16 or not.
kernel = triton.jit(do_not_specialize=['queries', 'keys'])


@triton.jit
def scaled(x, scale):
    """The argument t of the focused function."""
    # Not a maximum, which would hide a NaN.
    return (tl.where(x < 0, 0.0, x) + EPS) / scale


@triton.jit
def power(u, P: tl.constexpr):
    """u^P, without logarithms for the usual P."""
    if P == 1:
        w = u
    elif P == 2:
        w = u * u
    elif P == 3:
        w = u * u * u
    elif P == 4:
        w = (u * u) * (u * u)
    else:
        w = tl.exp2(P * tl.log2(u))
    return w


@triton.jit
def tile(x, x_n, rows, columns, mask):
    """Load tokens in float32; 0 where none is."""
    pointers = x + rows[:, None] * x_n + columns[None, :]
    return tl.load(pointers, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def put(x, x_n, rows, columns, mask, numbers):
    """Store tokens in the dtype of x."""
    pointers = x + rows[:, None] * x_n + columns[None, :]
    tl.store(pointers, numbers.to(x.dtype.element_ty), mask=mask)


@triton.jit
def tile_of_keys(key, position, key_n, position_n, rows, columns, mask):
    """Load keys, with their position where there is one."""
    x = tile(key, key_n, rows, columns, mask)
    if position is not None:
        x += tile(position, position_n, rows, columns, mask)
    return x


@triton.jit
def rounded(x, PRECISION: tl.constexpr):
    """To the nearest TF32 number, where the product would cut bits off.

    Numbers that were 16 bits wide are left as they are, and need it not.
    """
    if PRECISION == 'tf32':
        bits = (x.to(tl.int32, bitcast=True) + 0x1000) & -0x2000
        x = tl.where(x == x, bits.to(tl.float32, bitcast=True), x)
    return x


@triton.jit
def product(a, b, PRECISION: tl.constexpr):
    """The matrix product, on tensor cores."""
    return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def place(H: tl.constexpr, D: tl.constexpr):
    """Image, head and the head's channels; neighbours share tokens."""
    head = tl.program_id(0) % H
    batch = (tl.program_id(0) // H).to(tl.int64)
    return batch, head, head * D + tl.arange(0, D)


@triton.jit
def rows_of(block, tokens, BLOCK: tl.constexpr):
    """Numbers of a block's tokens, and which are there, ``(BLOCK, 1)``."""
    rows = tl.cast(block, tl.int64) * BLOCK + tl.arange(0, BLOCK)
    return rows, (rows < tokens)[:, None]


@triton.jit
def number(statistics, index, tokens, rows, mask, other):
    """One of the three numbers of each token, ``(BLOCK, 1)``."""
    pointers = statistics + index * tokens + rows[:, None]
    return tl.load(pointers, mask=mask, other=other)


@triton.jit
def focus(x, scale, statistics, tokens, rows, mask, P: tl.constexpr):
    """Of one head, t and phi; phi is 0 where no token is."""
    t = scaled(x, scale[None, :])
    inverse = number(statistics, 0, tokens, rows, mask, 0.0)
    ratio = number(statistics, 1, tokens, rows, mask, 0.0)
    return t, power(t * inverse, P) * ratio


@triton.jit
def measure(
    x,
    scale,
    statistics,
    tokens,
    rows,
    columns,
    C: tl.constexpr,
    P: tl.constexpr,
):
    """Store 1 / max(t), the factor of (t / max(t))^p in phi, and ||t||."""
    t = scaled(x, tl.load(scale + columns, columns < C, other=1.0)[None, :])
    t = tl.where((columns < C)[None, :], t, 0.0)
    largest = tl.max(t, 1)
    u = t / largest[:, None]
    w = tl.where((columns < C)[None, :], power(u, P), 0.0)
    norm = largest * tl.sqrt(tl.sum(u * u, 1))
    mask = rows < tokens
    tl.store(statistics + rows, 1 / largest, mask)
    statistics += tokens
    tl.store(statistics + rows, norm / tl.sqrt(tl.sum(w * w, 1)), mask)
    tl.store(statistics + tokens + rows, norm, mask)


@kernel
def measure_tokens(
    query,
    key,
    position,
    scale,
    query_statistics,
    key_statistics,
    query_b,
    query_n,
    key_b,
    key_n,
    position_n,
    queries,
    keys,
    C: tl.constexpr,
    WIDTH: tl.constexpr,
    P: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Numbers of all tokens, ``(B, 3, M)`` and ``(B, 3, N)``.

    The grid is ``(B, blocks, 2)``, of Q and K.
    """
    batch = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, WIDTH)
    if tl.program_id(2) == 0:
        rows, mask = rows_of(tl.program_id(1), queries, BLOCK)
        mask = mask & (columns < C)[None, :]
        x = tile(query + batch * query_b, query_n, rows, columns, mask)
        out = query_statistics + batch * 3 * queries
        measure(x, scale, out, queries, rows, columns, C, P)
    else:
        rows, mask = rows_of(tl.program_id(1), keys, BLOCK)
        mask = mask & (columns < C)[None, :]
        x = tile_of_keys(
            key + batch * key_b,
            position,
            key_n,
            position_n,
            rows,
            columns,
            mask,
        )
        out = key_statistics + batch * 3 * keys
        measure(x, scale, out, keys, rows, columns, C, P)


@triton.jit
def put_summary(parts, batch, head, products, sums, H, D: tl.constexpr):
    """Store a chunk's part, ``(D + 1, D)`` in ``(B, chunks, H, D + 1, D)``."""
    channels = tl.arange(0, D)
    chunk = batch * tl.num_programs(1) + tl.program_id(1)
    parts += (chunk * H + head) * (D + 1) * D
    tl.store(parts + channels[:, None] * D + channels[None, :], products)
    tl.store(parts + D * D + channels, sums)


@triton.jit
def load_summary(summary, batch, head, H, D: tl.constexpr):
    """The products ``(D, D)`` and the sums ``(1, D)`` of a head."""
    channels = tl.arange(0, D)
    summary += (batch * H + head) * (D + 1) * D
    products = tl.load(summary + channels[:, None] * D + channels[None, :])
    return products, tl.load(summary + D * D + channels)[None, :]


@kernel
def summarize(
    key,
    position,
    value,
    scale,
    key_statistics,
    parts,
    key_b,
    key_n,
    position_n,
    value_b,
    value_n,
    keys,
    H: tl.constexpr,
    D: tl.constexpr,
    P: tl.constexpr,
    BLOCK: tl.constexpr,
    STEPS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Parts of phi(K)^T V / N and of the mean of phi(K)."""
    batch, head, columns = place(H, D)
    scales = tl.load(scale + columns)
    key += batch * key_b
    value += batch * value_b
    key_statistics += batch * 3 * keys
    products = tl.full((D, D), 0.0, tl.float32)
    sums = tl.full((D,), 0.0, tl.float32)
    for step in range(STEPS):
        rows, mask = rows_of(tl.program_id(1) * STEPS + step, keys, BLOCK)
        x = tile_of_keys(key, position, key_n, position_n, rows, columns, mask)
        _, phi = focus(x, scales, key_statistics, keys, rows, mask, P)
        v = tile(value, value_n, rows, columns, mask)
        products += product(tl.trans(rounded(phi, PRECISION)), v, PRECISION)
        sums += tl.sum(phi, 0)
    put_summary(parts, batch, head, products / keys, sums / keys, H, D)


@kernel
def attend(
    query,
    scale,
    query_statistics,
    summary,
    out,
    query_b,
    query_n,
    queries,
    H: tl.constexpr,
    D: tl.constexpr,
    P: tl.constexpr,
    BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The output ``(B, M, C)`` from Q and the summary of K and V."""
    batch, head, columns = place(H, D)
    rows, mask = rows_of(tl.program_id(1), queries, BLOCK)
    query_statistics += batch * 3 * queries
    products, means = load_summary(summary, batch, head, H, D)
    x = tile(query + batch * query_b, query_n, rows, columns, mask)
    _, phi = focus(
        x, tl.load(scale + columns), query_statistics, queries, rows, mask, P
    )
    norm = tl.sum(phi * means, 1)[:, None] + EPS
    phi = rounded(phi, PRECISION)
    numbers = product(phi, rounded(products, PRECISION), PRECISION) / norm
    out += batch * queries * H * D
    put(out, H * D, rows, columns, mask, numbers)
