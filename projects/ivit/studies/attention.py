# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""One plain transformer with seven attentions: the papers' ablations, small.

Interactive attention (arXiv 2402.17507) against its two halves alone, focused
linear attention (arXiv 2308.00442) against what it adds to plain linear
attention, and both against softmax. Nothing but the attention differs.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from mmengine.config import Config

from ..backbones import PlainViT
from ..engine import find_config
from . import summary
from .cost import Load, measure_costs
from .runs import Run, execute

CONFIG = 'fcn_vit_n_shapes'
METRIC = 'mIoU'
BASELINE = 'softmax'
LANDMARKS = (4, 4)  # fewer than the map's cells
ATTENTIONS: dict[str, dict[str, Any]] = {
    BASELINE: dict(type='softmax'),
    'decomposed only': dict(
        type='interactive', landmarks=LANDMARKS, interaction=None
    ),
    'interaction only': dict(type='interactive', decomposed=False),
    'iMHSA': dict(type='interactive', landmarks=LANDMARKS),
    'plain linear': dict(type='focused', focusing_factor=1, kernel_size=None),
    'focused, no DWC': dict(type='focused', kernel_size=None),
    'focused': dict(type='focused'),
}
STEPS, WARM_UP = 1500, 60
# The learning rate is the config's, for all.
TRAINING = {
    'train_cfg.max_iters': STEPS,
    'train_cfg.val_interval': STEPS,
    'param_scheduler.1.end': STEPS,
    'param_scheduler.1.T_max': STEPS - WARM_UP,
    **{
        f'{phase}_dataloader.{name}': value
        for phase in ('train', 'val', 'test')
        for name, value in (('num_workers', 0), ('persistent_workers', False))
    },
}
# As trained, and 4,096 tokens.
LOADS = (Load(128, 16, 20), Load(1024, 1, 10))


def list_runs(seeds: Sequence[int]) -> list[Run]:
    """All trainings, each seed's together."""
    return [
        Run(
            _name(attention, seed),
            CONFIG,
            {
                **TRAINING,
                'model.backbone.attention': dict(options),
                'randomness.seed': seed,
            },
            metric=METRIC,
        )
        for seed in seeds
        for attention, options in ATTENTIONS.items()
    ]


def _name(attention: str, seed: int) -> str:
    words = attention.lower().replace(',', '').split()
    return f'{"-".join(words)}-{seed}'


def run_study(folder: Path, seeds: Sequence[int], jobs: int) -> str:
    """Do what is left of the study and write down what came out.

    Args:
        folder: For the work dirs, ``costs.json``, ``results.json``,
            ``table.md`` and ``plot.png``.
        seeds: One training of each attention for each.
        jobs: Trainings at once. Times are measured after them.

    Returns:
        The table, in Markdown.

    Raises:
        ValueError: See :func:`.runs.execute`, as for ``RunFailed``, and
            :func:`.cost.measure_costs`.
    """
    folder = Path(folder).absolute()
    runs = list_runs(seeds)
    results = execute(runs, folder, jobs)
    backbone = _backbone()
    costs = measure_costs(folder / 'costs.json', ATTENTIONS, backbone, LOADS)
    rows = {
        attention: {
            'parameters': count_parameters({**backbone, 'attention': options}),
            METRIC: [
                results[_name(attention, seed)]['metrics'][METRIC]
                for seed in seeds
            ],
        }
        for attention, options in ATTENTIONS.items()
    }
    table = make_table(rows, costs)
    content = {'seeds': list(seeds), 'rows': rows, 'costs': costs}
    summary.write_results(folder, {**content, 'runs': results}, table)
    draw(rows, costs, folder / 'plot.png')
    return table


def _backbone() -> dict[str, Any]:
    """Arguments of the config's backbone, but its attention."""
    path = find_config(CONFIG)
    cfg = Config.fromfile(path, import_custom_modules=False)
    kept = cfg.model.backbone.keys() - {'type', 'attention'}
    return {name: cfg.model.backbone[name] for name in sorted(kept)}


def count_parameters(backbone: Mapping[str, Any]) -> int:
    """Parameters of all attentions of a :class:`PlainViT`."""
    with torch.device('meta'):
        blocks = PlainViT(**backbone).blocks
    attentions = [block.get_submodule('attn') for block in blocks]
    return sum(p.numel() for attn in attentions for p in attn.parameters())


def make_table(
    rows: Mapping[str, Mapping[str, Any]], costs: Sequence[Mapping[str, Any]]
) -> str:
    """The table, in Markdown.

    Args:
        rows: By attention its ``parameters`` and ``mIoU`` by seed.
        costs: See :func:`.cost.measure_costs`.
    """
    header = ['attention', 'its parameters', 'mIoU, %', 'against softmax']
    for cost in costs:
        header += [f'{cost["title"]}: ms', "softmax's", 'peak MiB']
    baseline = rows[BASELINE][METRIC]
    lines = []
    for attention, row in rows.items():
        gain = [
            value - other
            for value, other in zip(row[METRIC], baseline, strict=True)
        ]
        line = [
            attention,
            f'{row["parameters"]:,}',
            summary.shown(row[METRIC]),
            '' if attention == BASELINE else summary.shown(gain, signed=True),
        ]
        for cost in costs:
            line += _cost_cells(cost, attention)
        lines.append(line)
    return summary.markdown_table(header, lines)


def _cost_cells(cost: Mapping[str, Any], attention: str) -> list[str]:
    row = next(row for row in cost['rows'] if row['name'] == attention)
    if not row['seconds']:
        return [row['note'] or 'n/a'] * 3
    peak = 'n/a' if row['peak'] is None else f'{row["peak"] / 2**20:.0f}'
    return [
        f'{1000 * statistics.median(row["seconds"]):.0f}',
        f'{1 / row["speed"]:.2f}' if row['speed'] else 'n/a',
        peak,
    ]


def draw(
    rows: Mapping[str, Mapping[str, Any]],
    costs: Sequence[Mapping[str, Any]],
    path: Path,
) -> None:
    """Accuracy by seed, and time against softmax, beside each other."""
    accuracy = {
        _label(attention): {METRIC: row[METRIC]}
        for attention, row in rows.items()
    }
    times = {
        _label(attention): {
            cost['title']: [1 / row['speed']]
            for cost in costs
            for row in cost['rows']
            if row['name'] == attention and row['speed']
        }
        for attention in rows
    }
    with summary.figure(2, path) as (left, right):
        summary.draw_groups(left, accuracy, 'mIoU, %')
        summary.draw_groups(right, times, "time of a step / softmax's")
        right.set_yscale('log')
        right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        right.yaxis.set_major_formatter(StrMethodFormatter('{x:g}'))
        right.yaxis.set_minor_formatter(NullFormatter())
        for axes in (left, right):
            axes.tick_params(axis='x', labelsize=6.5)


def _label(attention: str) -> str:
    """The name in two lines, if it has two words."""
    return attention.replace(' ', '\n', 1)
