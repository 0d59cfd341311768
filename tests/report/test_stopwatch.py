# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
from ivit.engine import Stopwatch
from ivit.engine import stopwatch as module


def test_times(monkeypatch):
    def at(seconds):
        monkeypatch.setattr(module.time, 'time', lambda: 1e9 + seconds)

    stopwatch = Stopwatch(since=1e9, process_start=1e9 + 70)
    at(82)
    stopwatch.before_train(None)
    for start, end in ((200, 205), (400, 407)):
        at(start)
        stopwatch.before_val(None)
        at(end)
        stopwatch.after_val(None)
    at(408)
    stopwatch.after_train(None)
    at(410.4)
    assert stopwatch.facts() == {
        'Installation': '1 min 10 s',
        'Data and model': '12 s',
        'Training': '5 min 14 s',
        'Evaluation (2 times)': '12 s',
        'Total until this page': '6 min 50 s',
    }
    assert f'{stopwatch.total():.0f}' == '410'


def test_no_installation():
    stopwatch = Stopwatch(since=5, process_start=5)
    stopwatch.before_train(None)
    stopwatch.after_train(None)
    assert 'Installation' not in stopwatch.facts()
