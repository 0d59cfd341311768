# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# ruff: noqa: ANN001, ANN201, N803
"""Triton kernels of the gradients of focused linear attention.

Names as in :mod:`ivit.attention.focused_kernels`. With g the gradient of phi
and S = sum(g phi) over all channels of a token,

    dL/dt = p phi (g - S phi / ||t||^2) / t + S t / ||t||^2.

All heads add to S, so two kernels give the gradient of Q, and two that of K:
the first writes the share of each head in S.

Where V varies little about its mean, g is a small difference of large
numbers, and one TF32 product would leave little of it: those that give g are
``tf32x3`` whatever PRECISION is.
"""

import triton
import triton.language as tl

from .focused_kernels import (
    EPS,
    focus,
    kernel,
    load_summary,
    number,
    place,
    product,
    put,
    put_summary,
    rounded,
    rows_of,
    tile,
    tile_of_keys,
)


@triton.jit
def from_output(grad, phi, products, means):
    """Of one head: norm, o . grad, and grad (K^T V)^T, from the output's."""
    norm = tl.sum(phi * means, 1)[:, None] + EPS
    x = product(grad, tl.trans(products), 'tf32x3')
    return norm, tl.sum(phi * x, 1)[:, None] / norm, x


@kernel
def summary_grad(
    grad,
    query,
    scale,
    query_statistics,
    summary,
    parts,
    shares,
    grad_b,
    grad_n,
    query_b,
    query_n,
    queries,
    keys,
    H: tl.constexpr,
    D: tl.constexpr,
    P: tl.constexpr,
    BLOCK: tl.constexpr,
    STEPS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Parts of the summary's gradient over N; the heads' shares in S of Q.

    Since the output does not depend on the length of phi(Q) but for the
    1e-6 in its norm, a head's share is (o . grad) 1e-6 / norm.
    """
    batch, head, columns = place(H, D)
    scales = tl.load(scale + columns)
    products, means = load_summary(summary, batch, head, H, D)
    grad += batch * grad_b
    query += batch * query_b
    query_statistics += batch * 3 * queries
    shares += batch * queries * H + head
    grad_products = tl.full((D, D), 0.0, tl.float32)
    grad_sums = tl.full((D,), 0.0, tl.float32)
    for step in range(STEPS):
        rows, mask = rows_of(tl.program_id(1) * STEPS + step, queries, BLOCK)
        x = tile(query, query_n, rows, columns, mask)
        _, phi = focus(x, scales, query_statistics, queries, rows, mask, P)
        g = tile(grad, grad_n, rows, columns, mask)
        norm, inner, _ = from_output(g, phi, products, means)
        grad_products += product(
            tl.trans(rounded(phi, PRECISION)),
            rounded(g / norm, PRECISION),
            PRECISION,
        )
        grad_sums -= tl.sum(phi * (inner / norm), 0)
        tl.store(shares + rows[:, None] * H, inner * (EPS / norm), mask)
    grad_products /= keys
    put_summary(parts, batch, head, grad_products, grad_sums / keys, H, D)


@triton.jit
def put_map_grad(
    grad,
    parts,
    shares,
    scales,
    statistics,
    tokens,
    batch,
    rows,
    columns,
    mask,
    x,
    t,
    phi,
    grad_phi,
    H: tl.constexpr,
    HEADS: tl.constexpr,
    D: tl.constexpr,
    P: tl.constexpr,
):
    """Store the gradient of x, and a block's part of that of the scale."""
    heads = tl.arange(0, HEADS)
    there = mask & (heads < H)[None, :]
    s = tile(shares + batch * tokens * H, H, rows, heads, there)
    norm = number(statistics, 2, tokens, rows, mask, 1.0)
    s = tl.sum(s, 1)[:, None] / norm
    grad_t = P * phi * (grad_phi - s * (phi / norm)) / t + s * (t / norm)
    grad_x = tl.where(x <= 0, 0.0, grad_t / scales[None, :])
    put(grad + batch * tokens * H * D, H * D, rows, columns, mask, grad_x)
    block = batch * tl.num_programs(1) + tl.program_id(1)
    grad_scale = -tl.sum(grad_t * t, 0) / scales
    tl.store(parts + block * H * D + columns, grad_scale)


@kernel
def query_grad(
    grad,
    query,
    scale,
    query_statistics,
    summary,
    shares,
    grad_query,
    scale_parts,
    grad_b,
    grad_n,
    query_b,
    query_n,
    queries,
    H: tl.constexpr,
    HEADS: tl.constexpr,
    D: tl.constexpr,
    P: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The gradient of Q, ``(B, M, C)``."""
    batch, head, columns = place(H, D)
    rows, mask = rows_of(tl.program_id(1), queries, BLOCK)
    scales = tl.load(scale + columns)
    query_statistics += batch * 3 * queries
    products, means = load_summary(summary, batch, head, H, D)
    x = tile(query + batch * query_b, query_n, rows, columns, mask)
    t, phi = focus(x, scales, query_statistics, queries, rows, mask, P)
    g = tile(grad + batch * grad_b, grad_n, rows, columns, mask)
    norm, inner, g = from_output(g, phi, products, means)
    put_map_grad(
        grad_query,
        scale_parts,
        shares,
        scales,
        query_statistics,
        queries,
        batch,
        rows,
        columns,
        mask,
        x,
        t,
        phi,
        (g - inner * means) / norm,
        H,
        HEADS,
        D,
        P,
    )


@kernel
def value_grad(
    key,
    position,
    value,
    scale,
    key_statistics,
    grad_summary,
    grad_value,
    shares,
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
    PRECISION: tl.constexpr,
):
    """The gradient of V, ``(B, N, C)``; the heads' shares in S of K."""
    batch, head, columns = place(H, D)
    rows, mask = rows_of(tl.program_id(1), keys, BLOCK)
    key += batch * key_b
    key_statistics += batch * 3 * keys
    products, sums = load_summary(grad_summary, batch, head, H, D)
    x = tile_of_keys(key, position, key_n, position_n, rows, columns, mask)
    _, phi = focus(
        x, tl.load(scale + columns), key_statistics, keys, rows, mask, P
    )
    v = tile(value + batch * value_b, value_n, rows, columns, mask)
    g = product(
        rounded(phi, PRECISION), rounded(products, PRECISION), PRECISION
    )
    put(grad_value + batch * keys * H * D, H * D, rows, columns, mask, g)
    share = tl.sum(g * v + phi * sums, 1)[:, None]
    shares += batch * keys * H + head
    tl.store(shares + rows[:, None] * H, share, mask)


@kernel
def key_grad(
    key,
    position,
    value,
    scale,
    key_statistics,
    grad_summary,
    shares,
    grad_key,
    scale_parts,
    key_b,
    key_n,
    position_n,
    value_b,
    value_n,
    keys,
    H: tl.constexpr,
    HEADS: tl.constexpr,
    D: tl.constexpr,
    P: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The gradient of K, ``(B, N, C)``."""
    batch, head, columns = place(H, D)
    rows, mask = rows_of(tl.program_id(1), keys, BLOCK)
    scales = tl.load(scale + columns)
    key += batch * key_b
    key_statistics += batch * 3 * keys
    products, sums = load_summary(grad_summary, batch, head, H, D)
    x = tile_of_keys(key, position, key_n, position_n, rows, columns, mask)
    t, phi = focus(x, scales, key_statistics, keys, rows, mask, P)
    v = tile(value + batch * value_b, value_n, rows, columns, mask)
    g = product(v, tl.trans(products), 'tf32x3') + sums
    put_map_grad(
        grad_key,
        scale_parts,
        shares,
        scales,
        key_statistics,
        keys,
        batch,
        rows,
        columns,
        mask,
        x,
        t,
        phi,
        g,
        H,
        HEADS,
        D,
        P,
    )
