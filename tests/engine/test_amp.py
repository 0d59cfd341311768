# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import pytest
from mmengine.config import Config

from ivit.engine import UsageError, amp

GPU = dict(type='AmpOptimWrapper', loss_scale='dynamic')
CPU = dict(type='BFloat16CPUOptimWrapper')
PLAIN = dict(type='OptimWrapper')


@pytest.mark.parametrize(
    ('device', 'enable', 'before', 'after'),
    [
        ('cuda', True, PLAIN, GPU),
        (
            'cuda',
            True,
            dict(GPU, loss_scale=512.0),
            dict(GPU, loss_scale=512.0),
        ),
        ('cuda', False, PLAIN, PLAIN),
        ('cuda', False, CPU, GPU),
        ('cpu', True, {}, CPU),
        ('cpu', True, PLAIN, CPU),
        ('cpu', False, PLAIN, PLAIN),
        ('cpu', False, dict(GPU, dtype='float16'), CPU),
    ],
)
def test_wrapper_for_the_device(monkeypatch, device, enable, before, after):
    monkeypatch.setattr(amp, 'get_device', lambda: device)
    cfg = Config(dict(optim_wrapper=dict(before, accumulative_counts=2)))
    precision = []
    monkeypatch.setattr(
        amp.torch, 'set_float32_matmul_precision', precision.append
    )
    amp.set_amp(cfg, enable)
    assert precision == ['high'] * (enable and device == 'cuda')
    assert cfg.optim_wrapper == dict(after, accumulative_counts=2)


def test_other_wrappers_are_refused():
    cfg = Config(dict(optim_wrapper=dict(type='ApexOptimWrapper')))
    with pytest.raises(UsageError, match='ApexOptimWrapper'):
        amp.set_amp(cfg, True)
    amp.set_amp(cfg, False)
    assert cfg.optim_wrapper.type == 'ApexOptimWrapper'
