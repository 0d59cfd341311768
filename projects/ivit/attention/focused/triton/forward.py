# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Arguments of kernels are pointers and strides, and capital constants.
# ruff: noqa: ANN001, ANN201, N803
"""Triton kernels of focused linear attention, arXiv 2308.00442: forward.

Symbols as in :mod:`ivit.attention.focused`; t = (ReLU(x) + 1e-6) / scale, so
that phi = ||t|| t^p / ||t^p||.

The norms run over all channels of a token, the products over those of one
head. So ``focused_fwd_stats_kernel`` first leaves three numbers for each
token, its statistics. From then on a program works on one head of one tile of
tokens. Where tokens are summed, a program sums a few tiles and writes a
partial sum: there are no atomics, and results have the same bits every time.

The product of keys and values is called kv: for each head ``(D + 1, D)``,
phi(K)^T V / N in the first D rows and the mean of phi(K) in the last.

Names of arguments: ``stride_kb`` and ``stride_kn`` are the strides of an
image and of a token of K, and so on for other tensors. Capitals are
constants: H heads of D channels, P the focusing factor, C_POW2 and H_POW2
powers of two of at least C and H, TILE tokens in a tile, TILES tiles that one
program sums, PRECISION that of the matrix products. All arithmetic is in
float32.
"""

import triton
import triton.language as tl

EPS = tl.constexpr(1e-6)
# One compiled kernel for all sizes, multiples of 16 or not.
kernel = triton.jit(do_not_specialize=['num_queries', 'num_keys'])


@triton.jit
def scaled_relu(x, scale):
    """The argument t of the focused function."""
    # Not a maximum, which would hide a NaN.
    return (tl.where(x < 0, 0.0, x) + EPS) / scale


@triton.jit
def raise_to_power(u, P: tl.constexpr):
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
def load_tokens(x, stride_xn, rows, columns, mask):
    """Load tokens in float32, 0 where ``mask`` is not set."""
    pointers = x + rows[:, None] * stride_xn + columns[None, :]
    return tl.load(pointers, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def store_tokens(x, stride_xn, rows, columns, mask, numbers):
    """Store tokens in the dtype of x."""
    pointers = x + rows[:, None] * stride_xn + columns[None, :]
    tl.store(pointers, numbers.to(x.dtype.element_ty), mask=mask)


@triton.jit
def load_keys(key, position, stride_kn, stride_pn, rows, columns, mask):
    """Load keys and, if there is a table, add their positions."""
    x = load_tokens(key, stride_kn, rows, columns, mask)
    if position is not None:
        x += load_tokens(position, stride_pn, rows, columns, mask)
    return x


@triton.jit
def round_to_tf32(x, PRECISION: tl.constexpr):
    """Round to the nearest TF32 number, where a product would cut bits off.

    Numbers that had 16 bits are TF32 numbers already and stay as they are.
    """
    if PRECISION == 'tf32':
        bits = (x.to(tl.int32, bitcast=True) + 0x1000) & -0x2000
        x = tl.where(x == x, bits.to(tl.float32, bitcast=True), x)
    return x


@triton.jit
def matmul(a, b, PRECISION: tl.constexpr):
    """The matrix product, on tensor cores."""
    return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def head_of_program(H: tl.constexpr, D: tl.constexpr):
    """Image, head and channels of a program.

    Neighbouring programs have the same tokens, which they find in the cache.
    """
    head = tl.program_id(0) % H
    batch = (tl.program_id(0) // H).to(tl.int64)
    return batch, head, head * D + tl.arange(0, D)


@triton.jit
def rows_of_tile(tile, num_tokens, TILE: tl.constexpr):
    """The tokens of a tile, ``(TILE,)``, and which exist, ``(TILE, 1)``."""
    rows = tl.cast(tile, tl.int64) * TILE + tl.arange(0, TILE)
    return rows, (rows < num_tokens)[:, None]


@triton.jit
def load_statistic(stats, index, num_tokens, rows, mask, other):
    """Load one statistic of each token, ``(TILE, 1)``."""
    pointers = stats + index * num_tokens + rows[:, None]
    return tl.load(pointers, mask=mask, other=other)


@triton.jit
def focused_map(x, scale, stats, num_tokens, rows, mask, P: tl.constexpr):
    """T and phi of one head, ``(TILE, D)``; phi is 0 where no token is."""
    t = scaled_relu(x, scale[None, :])
    inverse = load_statistic(stats, 0, num_tokens, rows, mask, 0.0)
    ratio = load_statistic(stats, 1, num_tokens, rows, mask, 0.0)
    return t, raise_to_power(t * inverse, P) * ratio


@triton.jit
def store_statistics(
    x,
    scale,
    stats,
    num_tokens,
    rows,
    columns,
    C: tl.constexpr,
    P: tl.constexpr,
):
    """Store 1 / max(t), the factor of (t / max(t))^p in phi, and ||t||."""
    t = scaled_relu(
        x, tl.load(scale + columns, columns < C, other=1.0)[None, :]
    )
    t = tl.where((columns < C)[None, :], t, 0.0)
    largest = tl.max(t, 1)
    u = t / largest[:, None]
    w = tl.where((columns < C)[None, :], raise_to_power(u, P), 0.0)
    norm = largest * tl.sqrt(tl.sum(u * u, 1))
    mask = rows < num_tokens
    tl.store(stats + rows, 1 / largest, mask)
    stats += num_tokens
    tl.store(stats + rows, norm / tl.sqrt(tl.sum(w * w, 1)), mask)
    tl.store(stats + num_tokens + rows, norm, mask)


@kernel
def focused_fwd_stats_kernel(
    query,
    key,
    position,
    scale,
    query_stats,
    key_stats,
    stride_qb,
    stride_qn,
    stride_kb,
    stride_kn,
    stride_pn,
    num_queries,
    num_keys,
    C: tl.constexpr,
    C_POW2: tl.constexpr,
    P: tl.constexpr,
    TILE: tl.constexpr,
):
    """Statistics of all tokens, ``(B, 3, M)`` of Q and ``(B, 3, N)`` of K.

    The grid is ``(B, tiles, 2)``; the last number chooses between Q and K.
    """
    batch = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, C_POW2)
    if tl.program_id(2) == 0:
        rows, mask = rows_of_tile(tl.program_id(1), num_queries, TILE)
        mask = mask & (columns < C)[None, :]
        x = load_tokens(
            query + batch * stride_qb, stride_qn, rows, columns, mask
        )
        out = query_stats + batch * 3 * num_queries
        store_statistics(x, scale, out, num_queries, rows, columns, C, P)
    else:
        rows, mask = rows_of_tile(tl.program_id(1), num_keys, TILE)
        mask = mask & (columns < C)[None, :]
        x = load_keys(
            key + batch * stride_kb,
            position,
            stride_kn,
            stride_pn,
            rows,
            columns,
            mask,
        )
        out = key_stats + batch * 3 * num_keys
        store_statistics(x, scale, out, num_keys, rows, columns, C, P)


@triton.jit
def store_kv_partial(
    partials, batch, head, products, sums, H, D: tl.constexpr
):
    """Store a partial sum of kv, in ``(B, programs, H, D + 1, D)``."""
    channels = tl.arange(0, D)
    program = batch * tl.num_programs(1) + tl.program_id(1)
    partials += (program * H + head) * (D + 1) * D
    tl.store(partials + channels[:, None] * D + channels[None, :], products)
    tl.store(partials + D * D + channels, sums)


@triton.jit
def load_kv(kv, batch, head, H, D: tl.constexpr):
    """Kv of a head: the products ``(D, D)`` and the mean of K ``(1, D)``."""
    channels = tl.arange(0, D)
    kv += (batch * H + head) * (D + 1) * D
    products = tl.load(kv + channels[:, None] * D + channels[None, :])
    return products, tl.load(kv + D * D + channels)[None, :]


@kernel
def focused_fwd_kv_kernel(
    key,
    position,
    value,
    scale,
    key_stats,
    partials,
    stride_kb,
    stride_kn,
    stride_pn,
    stride_vb,
    stride_vn,
    num_keys,
    H: tl.constexpr,
    D: tl.constexpr,
    P: tl.constexpr,
    TILE: tl.constexpr,
    TILES: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Partial sums of kv."""
    batch, head, columns = head_of_program(H, D)
    scales = tl.load(scale + columns)
    key += batch * stride_kb
    value += batch * stride_vb
    key_stats += batch * 3 * num_keys
    products = tl.full((D, D), 0.0, tl.float32)
    sums = tl.full((D,), 0.0, tl.float32)
    for i in range(TILES):
        rows, mask = rows_of_tile(tl.program_id(1) * TILES + i, num_keys, TILE)
        x = load_keys(key, position, stride_kn, stride_pn, rows, columns, mask)
        _, phi = focused_map(x, scales, key_stats, num_keys, rows, mask, P)
        v = load_tokens(value, stride_vn, rows, columns, mask)
        products += matmul(
            tl.trans(round_to_tf32(phi, PRECISION)), v, PRECISION
        )
        sums += tl.sum(phi, 0)
    store_kv_partial(
        partials, batch, head, products / num_keys, sums / num_keys, H, D
    )


@kernel
def focused_fwd_out_kernel(
    query,
    scale,
    query_stats,
    kv,
    out,
    stride_qb,
    stride_qn,
    num_queries,
    H: tl.constexpr,
    D: tl.constexpr,
    P: tl.constexpr,
    TILE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The output ``(B, M, C)`` from Q and kv."""
    batch, head, columns = head_of_program(H, D)
    rows, mask = rows_of_tile(tl.program_id(1), num_queries, TILE)
    query_stats += batch * 3 * num_queries
    products, means = load_kv(kv, batch, head, H, D)
    x = load_tokens(query + batch * stride_qb, stride_qn, rows, columns, mask)
    _, phi = focused_map(
        x, tl.load(scale + columns), query_stats, num_queries, rows, mask, P
    )
    norm = tl.sum(phi * means, 1)[:, None] + EPS
    phi = round_to_tf32(phi, PRECISION)
    numbers = matmul(phi, round_to_tf32(products, PRECISION), PRECISION) / norm
    out += batch * num_queries * H * D
    store_tokens(out, H * D, rows, columns, mask, numbers)
