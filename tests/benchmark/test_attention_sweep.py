# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Attentions over tokens: what they compute, and what is left out."""

import pytest
import torch

from ivit.benchmark import NAMES, TOKENS, AttentionWork
from ivit.benchmark import attention as attention_module
from ivit.benchmark.attention import build_attention, sweep
from ivit.benchmark.compare import Result, Row, count_macs
from ivit.benchmark.workload import Setting


def test_token_numbers():
    assert all(h * w == number for number, (h, w) in TOKENS.items())
    assert (min(TOKENS), max(TOKENS)) == (196, 67200)


@pytest.mark.parametrize('name', NAMES)
def test_multiply_adds(name):
    n, dim, heads, marks = 784, 48, 2, 49
    linear = 4 * n * dim**2  # q, k, v, proj
    landmarks = 3 * marks * dim**2 + 4 * marks * n * dim
    focused = 2 * n * dim**2 // heads
    expected = dict(
        softmax=linear + 2 * n**2 * dim,
        decomposed=linear + landmarks,
        imhsa=linear + landmarks + 4 * marks * n * heads**2,
        linear=linear + focused,
        focused=linear + focused + 25 * n * dim,
        focused_core=focused,
        read_write=0,
    )
    expected['softmax+interaction'] = expected['softmax'] + 2 * n**2 * heads**2
    # Its normaliser is a product of matrices too.
    expected['naive'] = expected['focused'] + n * dim
    expected['naive_core'] = focused + n * dim
    work = AttentionWork(name, n, dim, heads, Setting()).build()
    assert count_macs(work) == expected[name]


def test_cores_agree():
    qkv = torch.randn(3, 2, 196, 48, dtype=torch.float64)
    ours, other = (
        build_attention(name, 48, 2).double()(*qkv)
        for name in ('focused_core', 'naive_core')
    )
    torch.testing.assert_close(ours, other, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize('train', [False, True])
def test_expected_memory(train):
    setting = Setting(train, batch=2, dtype='bfloat16')
    work = AttentionWork('softmax+interaction', 784, 48, 6, setting)
    # At least what the backward pass keeps, or the forward pass has at once.
    matrix = 2 * 6 * 784**2 * 2
    assert work.expected_bytes() >= 3 * matrix
    softmax = AttentionWork('softmax', 784, 48, 6, setting)
    assert softmax.expected_bytes() == 0


def test_what_would_take_too_long_or_too_much(monkeypatch):
    ran = []

    def compare(works, setting, title, rounds, baseline):
        ran.append(list(works))
        rows = [Row(name, seconds=[1.0] * rounds) for name in works]
        return Result(title, setting, rows)

    monkeypatch.setattr(attention_module, 'compare', compare)
    names = ['softmax', 'softmax+interaction', 'imhsa']
    results = sweep(
        names,
        [16800, 784, 3136],
        dim=48,
        num_heads=2,
        setting=Setting(),
        rounds=3,
        max_bytes=2 * 4 * 4 * 784**2,
        max_seconds=20,
    )
    assert [r.tokens for r in results] == [784, 3136, 16800]
    # 16 s at 3136 tokens are expected from 784, and 29 s at 16800.
    assert ran == [names, ['softmax', 'imhsa'], ['imhsa']]
    assert all([row.name for row in r.rows] == names for r in results)
    assert results[1].rows[1].note == 'over 0.0183182 GiB'
    assert results[2].rows[0].note == 'over 20 s'
