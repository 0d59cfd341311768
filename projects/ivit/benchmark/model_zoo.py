# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The tables of models: what every backbone costs, and which configs use it.

``python -m ivit.benchmark.model_zoo`` in the root of the repository prints
``docs/models.md``; with ``--write`` it writes that page, and
``configs/metafile.yml`` for the readers of OpenMMLab's model index.
"""

import argparse
import functools
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import mmengine
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from .. import backbones
from ..backbones.base import PyramidBackbone
from ..checkpoints import released, shipped_weights
from ..engine import UsageError, one_line_errors
from .cost import measure

PAGE = Path('docs/models.md')
METAFILE = Path('configs/metafile.yml')
CLASSES = 1000
# The data sets that are made on first use, which are their own labels.
EMBEDDED = ('shapes', 'fractals', 'one_fractal')
# Columns, by what a config builds: the model's type, in mmseg its head's.
TASKS = dict(
    ImageClassifier='classifier',
    MaskRCNN='Mask R-CNN',
    CascadeRCNN='Cascade Mask R-CNN',
    RetinaNet='RetinaNet',
    UPerHead='UperNet',
    FPNHead='Semantic FPN',
    FCNHead='FCN',
)
INTRODUCTION = """\
# Models

Parameters and multiply-adds (GMACs, of one image of 224 x 224) are those of
the backbone with a classifier of 1000 classes, counted from shapes. A link is
a config: `1x` and `3x` train for 12 and 36 epochs on COCO, `40k` and `160k`
for that many steps on ADE20K; `224` and `384` are image sizes of ImageNet;
`shapes`, `fractals` and `one fractal` are
[data that is made on first use](data.md). [configs.md](configs.md) has the
recipes, and `tools/get_flops.py CONFIG` counts a whole model.

[pretraining.md](pretraining.md) lists the weights that the authors of FLatten
have published, and says how to make others. Those
[that come with ivit](#weights-that-come-with-ivit) were made without data.

`python -m ivit.benchmark.model_zoo --write` writes this page.
"""
WEIGHTS = """\
## Weights that come with ivit

Backbones of classifiers of fractals, in float16. The accuracy is that of the
classifier, on new drawings of its 1,000 categories: no ImageNet accuracy.
`ivit train --data` starts with them: [pretraining.md](pretraining.md).

"""
METAFILE_HEAD = (
    '# Written by `python -m ivit.benchmark.model_zoo --write`.\n'
    '# Accuracies are those that the authors of FLatten published.\n'
)


class Family(NamedTuple):
    """Backbones that share a row in the README and a collection.

    Attributes:
        name: What the family is called.
        backbones: Registered names, by the name that a size is appended to.
        title: Title of the paper.
        url: Address of the paper.
        page: The page about it, in ``docs/``.
    """

    name: str
    backbones: dict[str, str]
    title: str
    url: str
    page: str


FLATTEN = (
    'FLatten Transformer: Vision Transformer using Focused Linear Attention',
    'https://arxiv.org/abs/2308.00442',
    'flatten.md',
)
FAMILIES = (
    Family(
        'iViT',
        {'iViT': 'IViT'},
        'Interactive Multi-Head Self-Attention with Linear Complexity',
        'https://arxiv.org/abs/2402.17507',
        'ivit.md',
    ),
    Family('FLatten-Swin', {'FLatten-Swin': 'FLattenSwin'}, *FLATTEN),
    Family('FLatten-PVT', {'FLatten-PVT': 'FLattenPVT'}, *FLATTEN),
    Family('FLatten-PVTv2', {'FLatten-PVTv2': 'FLattenPVTv2'}, *FLATTEN),
    Family('FLatten-CSwin', {'FLatten-CSwin': 'FLattenCSwin'}, *FLATTEN),
    Family(
        'Plain ViT',
        {'ViT': 'PlainViT', 'FLatten-DeiT': 'FLattenDeiT'},
        'Training data-efficient image transformers & distillation through '
        'attention',
        'https://arxiv.org/abs/2012.12877',
        'ivit.md#plain-transformers',
    ),
)


class Row(NamedTuple):
    """A backbone of one arch.

    Attributes:
        name: Its name.
        parameters: Their number, with the classifier's.
        macs: Multiply-adds of one image of 224 x 224, with the classifier's.
        configs: Names of the configs with it.
    """

    name: str
    parameters: int
    macs: int
    configs: tuple[str, ...]


def read_configs(root: Path) -> dict[str, Config]:
    """All configs of a checkout, by their names.

    Raises:
        UsageError: If there are none.
    """
    paths = sorted(root.glob('configs/*.py'))
    if not paths:
        raise UsageError(
            f'there are no configs/*.py in {root.resolve()}; run this in the '
            'root of the repository'
        )
    return {path.stem: Config.fromfile(path) for path in paths}


def rows(family: Family, configs: Mapping[str, Config]) -> list[Row]:
    """Every arch of a family."""
    uses = defaultdict(list)
    for name, cfg in configs.items():
        backbone = cfg.model.backbone
        uses[backbone.type, backbone.arch].append(name)
    return [
        Row(
            f'{name}-{arch.upper()}',
            *_cost(kind, arch),
            tuple(uses[kind, arch]),
        )
        for name, kind in family.backbones.items()
        for arch in getattr(backbones, kind).arch_settings
    ]


@functools.cache
def _cost(kind: str, arch: str) -> tuple[int, int]:
    """Parameters and multiply-adds at 224 x 224, with a classifier's."""
    backbone = getattr(backbones, kind)
    # Other maps would get norms, which classifiers do not have.
    last = dict(out_indices=(3,))
    options = last if issubclass(backbone, PyramidBackbone) else {}
    with torch.device('meta'):
        model = backbone(arch, **options).eval()
        image = torch.empty(1, 3, 224, 224)
    with measure() as meter:
        channels = model(image)[-1].shape[1]
    parameters = _count_parameters(model)
    return (
        parameters + (channels + 1) * CLASSES,
        meter.total.macs + channels * CLASSES,
    )


def _count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _task(cfg: Config) -> str:
    """The column of a config."""
    kind = cfg.model.type
    if kind == 'EncoderDecoder':
        kind = cfg.model.decode_head.type
    return TASKS[kind]


def _label(name: str, cfg: Config) -> str:
    """What tells a config from the others in its cell."""
    for data in EMBEDDED:
        if name.endswith(f'_{data}'):
            return data.replace('_', ' ')
    if cfg.model.type == 'ImageClassifier':
        return str(cfg.model.backbone.get('img_size', 224))
    if 'max_iters' in cfg.train_cfg:
        return f'{cfg.train_cfg.max_iters // 1000}k'
    return f'{cfg.train_cfg.max_epochs // 12}x'


def _table(header: list[str], lines: list[list[str]]) -> str:
    lines = [header, ['---'] * len(header), *lines]
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)


def as_section(family: Family, configs: Mapping[str, Config]) -> str:
    """A family's table, with the columns in which it has configs."""
    lines = rows(family, configs)
    cells: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in lines:
        for name in row.configs:
            link = f'[{_label(name, configs[name])}](../configs/{name}.py)'
            cells[row.name, _task(configs[name])].append(link)
    tasks = [t for t in TASKS.values() if t in {task for _, task in cells}]
    table = _table(
        ['backbone', 'parameters', 'GMACs', *tasks],
        [
            [
                row.name,
                f'{row.parameters / 1e6:.1f} M',
                f'{row.macs / 1e9:.2f}',
                *(', '.join(sorted(cells[row.name, task])) for task in tasks),
            ]
            for row in lines
        ],
    )
    return (
        f'## {family.name}\n\n'
        f'After [{family.title}]({family.url}): [{family.page}]({family.page})'
        f'.\n\n{table}\n'
    )


def as_family_rows(configs: Mapping[str, Config], page: str) -> str:
    """One row for each family.

    Args:
        configs: See :func:`read_configs`.
        page: Where the families' tables are, from where the rows will stand:
            ``'docs/models.md'`` in the README.
    """
    lines = []
    for family in FAMILIES:
        members = rows(family, configs)
        parameters = [row.parameters / 1e6 for row in members]
        macs = [row.macs / 1e9 for row in members]
        number = sum(len(row.configs) for row in members)
        anchor = family.name.lower().replace(' ', '-')
        sizes = dict.fromkeys(row.name.rpartition('-')[2] for row in members)
        lines.append(
            [
                family.name,
                ', '.join(sizes),
                f'{min(parameters):.1f} to {max(parameters):.1f} M',
                f'{min(macs):.2f} to {max(macs):.2f}',
                f'[{number}]({page}#{anchor})',
            ]
        )
    header = ['family', 'sizes', 'parameters', 'GMACs at 224 x 224', 'configs']
    return _table(header, lines)


def as_weights() -> str:
    """The weights that come with the package."""
    lines = [
        [
            f'`{name}`',
            f'{weights.samples:,}',
            f'{weights.accuracy:.1f}',
            f'`{weights.command}`',
            str(weights.seed),
            weights.licence,
            f'`{weights.sha256[:8]}`',
        ]
        for name, weights in shipped_weights().items()
    ]
    header = [
        '`pretrained=`',
        'pictures seen',
        'top-1',
        'made with',
        'seed',
        'licence',
        'SHA-256',
    ]
    return WEIGHTS + _table(header, lines) + '\n'


def as_page(configs: Mapping[str, Config]) -> str:
    """``docs/models.md``."""
    sections = (as_section(family, configs) for family in FAMILIES)
    families = as_family_rows(configs, '') + '\n'
    return '\n'.join([INTRODUCTION, families, as_weights(), *sections])


def as_metafile(configs: Mapping[str, Config]) -> str:
    """``configs/metafile.yml``: a collection a family, a model a config."""
    collections = [
        dict(
            Name=family.name,
            Paper=dict(Title=family.title, URL=family.url),
            README=f'docs/{family.page.partition("#")[0]}',
        )
        for family in FAMILIES
    ]
    content = dict(Collections=collections, Models=list(_models(configs)))
    text = mmengine.dump(
        content, file_format='yml', sort_keys=False, width=1000
    )
    return METAFILE_HEAD + text


def _models(configs: Mapping[str, Config]) -> Iterator[dict[str, Any]]:
    """An entry of the metafile for each config."""
    collections = {
        kind: family.name
        for family in FAMILIES
        for kind in family.backbones.values()
    }
    top1 = {model.config: float(model.top1) for model in released.MODELS}
    for name, cfg in configs.items():
        scope = DefaultScope.overwrite_default_scope(cfg.default_scope)
        with scope, torch.device('meta'):
            parameters = _count_parameters(MODELS.build(cfg.model))
        entry: dict[str, Any] = {
            'Name': name,
            'In Collection': collections[cfg.model.backbone.type],
            'Config': f'configs/{name}.py',
            'Metadata': {'Parameters': parameters},
        }
        if name in top1:
            metric = 'Top 1 Accuracy (published, not reproduced here)'
            entry['Results'] = [
                {
                    'Task': 'Image Classification',
                    'Dataset': 'ImageNet-1k',
                    'Metrics': {metric: top1[name]},
                }
            ]
        yield entry


def main() -> None:
    """Print the page, or write both files."""
    parser = argparse.ArgumentParser(
        prog='python -m ivit.benchmark.model_zoo',
        description='Print docs/models.md.',
    )
    parser.add_argument(
        '--write',
        action='store_true',
        help=f'write {PAGE} and {METAFILE} instead',
    )
    args = parser.parse_args()
    with one_line_errors():
        configs = read_configs(Path())
        if args.write:
            PAGE.write_text(as_page(configs))
            METAFILE.write_text(as_metafile(configs))
        else:
            sys.stdout.write(as_page(configs))


if __name__ == '__main__':
    main()
