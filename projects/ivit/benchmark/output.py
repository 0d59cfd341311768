# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Results as Markdown and JSON, with what they were measured on."""

import dataclasses
import json
import platform
from collections.abc import Sequence
from pathlib import Path

import torch

from .compare import Result, Row
from .plot import save_plot

HEADER = (
    'name',
    'parameters (M)',
    'GMACs',
    'median (ms)',
    'p10',
    'p90',
    'peak memory (MiB)',
    'speed',
    '95 % interval',
)


def environment(device: str) -> dict[str, str]:
    """Names and versions of what measures."""
    cuda = device == 'cuda'
    return dict(
        device=torch.cuda.get_device_name() if cuda else _processor(),
        torch=torch.__version__,
        cuda=str(torch.version.cuda) if cuda else 'not used',
        python=platform.python_version(),
        system=platform.platform(),
    )


def _processor() -> str:
    """The CPU's model, where Linux tells it."""
    cpuinfo = Path('/proc/cpuinfo')
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()


def markdown(results: Sequence[Result]) -> str:
    """A table for each result and, of a sweep, the growth with tokens."""
    setting = results[0].setting
    facts = environment(setting.device)
    parts = [
        f'{facts["device"]}; torch {facts["torch"]}, CUDA {facts["cuda"]}, '
        f'Python {facts["python"]}; {setting}; rounds: '
        f'{max(len(row.seconds) for r in results for row in r.rows)}.'
    ]
    for result in results:
        parts += [f'**{result.title}**', _table(HEADER, _cells(result.rows))]
    if growth := _growth(results):
        header = ('four times the tokens', 'name', 'time', 'memory')
        parts.append(_table(header, growth))
    return '\n\n'.join(parts) + '\n'


def _cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    cells = []
    for row in rows:
        times = [row.note or '-', '-', '-']
        if row.seconds:
            times = [
                f'{1000 * seconds:.4g}'
                for seconds in (row.median, row.p10, row.p90)
            ]
        cells.append(
            (
                row.name,
                f'{row.params / 1e6:.2f}' if row.params else '-',
                f'{row.macs / 1e9:.2f}' if row.params else '-',
                *times,
                '-' if row.peak is None else f'{row.peak / 2**20:.0f}',
                '-' if row.speed is None else f'{row.speed:.2f} x',
                '{:.2f} to {:.2f}'.format(*row.interval)
                if row.interval
                else '-',
            )
        )
    return cells


def _growth(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """By how much time and memory grow from N to 4 N tokens."""
    cells: list[tuple[str, ...]] = []
    by_tokens = {r.tokens: r for r in results if r.tokens is not None}
    for tokens, less in by_tokens.items():
        more = by_tokens.get(4 * tokens)
        if more is None:
            continue
        for before, after in zip(less.rows, more.rows, strict=True):
            time = memory = '-'
            if before.seconds and after.seconds:
                time = f'x {after.median / before.median:.2f}'
            if before.peak and after.peak:
                memory = f'x {after.peak / before.peak:.2f}'
            cells.append(
                (f'{tokens} to {4 * tokens}', before.name, time, memory)
            )
    return cells


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def write(results: Sequence[Result], folder: Path) -> None:
    """Write ``results.json``, ``results.md`` and ``results.svg``."""
    folder.mkdir(parents=True, exist_ok=True)
    everything = dict(
        environment=environment(results[0].setting.device),
        results=[dataclasses.asdict(result) for result in results],
    )
    text = json.dumps(everything, indent=1) + '\n'
    (folder / 'results.json').write_text(text)
    (folder / 'results.md').write_text(markdown(results))
    save_plot(results, folder / 'results.svg')
