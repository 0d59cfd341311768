# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# ruff: noqa: ANN001, ANN201, N803
"""Triton kernels of focused linear attention, arXiv 2308.00442: backward.

Names as in :mod:`ivit.attention.focused.triton.forward`. With g the gradient
of phi and S = sum(g phi) over all channels of a token,

    dL/dt = p phi (g - S phi / ||t||^2) / t + S t / ||t||^2.

All heads add to S. So each of the gradients of Q and K takes two kernels: the
first writes the share of every head in S, the second adds the shares up.

Where V varies little about its mean, g is a small difference of large
numbers, and one TF32 product would leave little of it. The products that give
g are therefore ``tf32x3`` whatever PRECISION is.
"""

import triton
import triton.language as tl

from .forward import (
    EPS,
    focused_map,
    head_of_program,
    kernel,
    load_keys,
    load_kv,
    load_statistic,
    load_tokens,
    matmul,
    round_to_tf32,
    rows_of_tile,
    store_kv_partial,
    store_tokens,
)


@triton.jit
def grads_of_output(grad, phi, products, means):
    """Of one head: the norm and o . grad ``(TILE, 1)``, grad (K^T V)^T."""
    norm = tl.sum(phi * means, 1)[:, None] + EPS
    x = matmul(grad, tl.trans(products), 'tf32x3')
    return norm, tl.sum(phi * x, 1)[:, None] / norm, x


@kernel
def focused_bwd_kv_kernel(
    grad,
    query,
    scale,
    query_stats,
    kv,
    partials,
    shares,
    stride_gb,
    stride_gn,
    stride_qb,
    stride_qn,
    num_queries,
    num_keys,
    H: tl.constexpr,
    D: tl.constexpr,
    P: tl.constexpr,
    TILE: tl.constexpr,
    TILES: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Partial sums of the gradient of kv, over N; each head's share of Q's S.

    The output depends on the length of phi(Q) by the 1e-6 in its norm alone,
    so the share of a head is (o . grad) 1e-6 / norm.
    """
    batch, head, columns = head_of_program(H, D)
    scales = tl.load(scale + columns)
    products, means = load_kv(kv, batch, head, H, D)
    grad += batch * stride_gb
    query += batch * stride_qb
    query_stats += batch * 3 * num_queries
    shares += batch * num_queries * H + head
    grad_products = tl.full((D, D), 0.0, tl.float32)
    grad_sums = tl.full((D,), 0.0, tl.float32)
    for i in range(TILES):
        rows, mask = rows_of_tile(
            tl.program_id(1) * TILES + i, num_queries, TILE
        )
        x = load_tokens(query, stride_qn, rows, columns, mask)
        _, phi = focused_map(
            x, scales, query_stats, num_queries, rows, mask, P
        )
        g = load_tokens(grad, stride_gn, rows, columns, mask)
        norm, inner, _ = grads_of_output(g, phi, products, means)
        grad_products += matmul(
            tl.trans(round_to_tf32(phi, PRECISION)),
            round_to_tf32(g / norm, PRECISION),
            PRECISION,
        )
        grad_sums -= tl.sum(phi * (inner / norm), 0)
        tl.store(shares + rows[:, None] * H, inner * (EPS / norm), mask)
    grad_products /= num_keys
    store_kv_partial(
        partials, batch, head, grad_products, grad_sums / num_keys, H, D
    )


@triton.jit
def store_map_grad(
    grad,
    partials,
    shares,
    scales,
    stats,
    num_tokens,
    batch,
    rows,
    columns,
    mask,
    x,
    t,
    phi,
    grad_phi,
    H: tl.constexpr,
    H_POW2: tl.constexpr,
    D: tl.constexpr,
    P: tl.constexpr,
):
    """Store the gradient of x and a partial sum of that of the scale."""
    heads = tl.arange(0, H_POW2)
    there = mask & (heads < H)[None, :]
    s = load_tokens(shares + batch * num_tokens * H, H, rows, heads, there)
    norm = load_statistic(stats, 2, num_tokens, rows, mask, 1.0)
    s = tl.sum(s, 1)[:, None] / norm
    grad_t = P * phi * (grad_phi - s * (phi / norm)) / t + s * (t / norm)
    grad_x = tl.where(x <= 0, 0.0, grad_t / scales[None, :])
    store_tokens(
        grad + batch * num_tokens * H * D, H * D, rows, columns, mask, grad_x
    )
    program = batch * tl.num_programs(1) + tl.program_id(1)
    grad_scale = -tl.sum(grad_t * t, 0) / scales
    tl.store(partials + program * H * D + columns, grad_scale)


@kernel
def focused_bwd_q_kernel(
    grad,
    query,
    scale,
    query_stats,
    kv,
    shares,
    grad_query,
    scale_partials,
    stride_gb,
    stride_gn,
    stride_qb,
    stride_qn,
    num_queries,
    H: tl.constexpr,
    H_POW2: tl.constexpr,
    D: tl.constexpr,
    P: tl.constexpr,
    TILE: tl.constexpr,
):
    """The gradient of Q, ``(B, M, C)``."""
    batch, head, columns = head_of_program(H, D)
    rows, mask = rows_of_tile(tl.program_id(1), num_queries, TILE)
    scales = tl.load(scale + columns)
    query_stats += batch * 3 * num_queries
    products, means = load_kv(kv, batch, head, H, D)
    x = load_tokens(query + batch * stride_qb, stride_qn, rows, columns, mask)
    t, phi = focused_map(x, scales, query_stats, num_queries, rows, mask, P)
    g = load_tokens(grad + batch * stride_gb, stride_gn, rows, columns, mask)
    norm, inner, g = grads_of_output(g, phi, products, means)
    store_map_grad(
        grad_query,
        scale_partials,
        shares,
        scales,
        query_stats,
        num_queries,
        batch,
        rows,
        columns,
        mask,
        x,
        t,
        phi,
        (g - inner * means) / norm,
        H,
        H_POW2,
        D,
        P,
    )


@kernel
def focused_bwd_v_kernel(
    key,
    position,
    value,
    scale,
    key_stats,
    grad_kv,
    grad_value,
    shares,
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
    PRECISION: tl.constexpr,
):
    """The gradient of V, ``(B, N, C)``; each head's share of K's S."""
    batch, head, columns = head_of_program(H, D)
    rows, mask = rows_of_tile(tl.program_id(1), num_keys, TILE)
    key += batch * stride_kb
    key_stats += batch * 3 * num_keys
    products, sums = load_kv(grad_kv, batch, head, H, D)
    x = load_keys(key, position, stride_kn, stride_pn, rows, columns, mask)
    _, phi = focused_map(
        x, tl.load(scale + columns), key_stats, num_keys, rows, mask, P
    )
    v = load_tokens(value + batch * stride_vb, stride_vn, rows, columns, mask)
    g = matmul(
        round_to_tf32(phi, PRECISION),
        round_to_tf32(products, PRECISION),
        PRECISION,
    )
    store_tokens(
        grad_value + batch * num_keys * H * D, H * D, rows, columns, mask, g
    )
    share = tl.sum(g * v + phi * sums, 1)[:, None]
    shares += batch * num_keys * H + head
    tl.store(shares + rows[:, None] * H, share, mask)


@kernel
def focused_bwd_k_kernel(
    key,
    position,
    value,
    scale,
    key_stats,
    grad_kv,
    shares,
    grad_key,
    scale_partials,
    stride_kb,
    stride_kn,
    stride_pn,
    stride_vb,
    stride_vn,
    num_keys,
    H: tl.constexpr,
    H_POW2: tl.constexpr,
    D: tl.constexpr,
    P: tl.constexpr,
    TILE: tl.constexpr,
):
    """The gradient of K, ``(B, N, C)``."""
    batch, head, columns = head_of_program(H, D)
    rows, mask = rows_of_tile(tl.program_id(1), num_keys, TILE)
    scales = tl.load(scale + columns)
    key += batch * stride_kb
    key_stats += batch * 3 * num_keys
    products, sums = load_kv(grad_kv, batch, head, H, D)
    x = load_keys(key, position, stride_kn, stride_pn, rows, columns, mask)
    t, phi = focused_map(x, scales, key_stats, num_keys, rows, mask, P)
    v = load_tokens(value + batch * stride_vb, stride_vn, rows, columns, mask)
    g = matmul(v, tl.trans(products), 'tf32x3') + sums
    store_map_grad(
        grad_key,
        scale_partials,
        shares,
        scales,
        key_stats,
        num_keys,
        batch,
        rows,
        columns,
        mask,
        x,
        t,
        phi,
        g,
        H,
        H_POW2,
        D,
        P,
    )
