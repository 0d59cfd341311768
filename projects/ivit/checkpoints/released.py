# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The ImageNet weights that others have published for these backbones.

The FLatten authors' README links to pages of a cloud drive, which a program
cannot download from. So no config names an address: download a file with a
browser and give its path.

``python -m ivit.checkpoints.released`` prints the table.
"""

import sys
from typing import NamedTuple

PAGE = 'https://github.com/LeapLabTHU/FLatten-Transformer'


class Model(NamedTuple):
    """A model of the FLatten paper.

    Attributes:
        name: What the paper calls it.
        config: The config of its classifier in ``configs/``. A detector or
            segmentor that loads the weights needs the same backbone.
        top1: Accuracy on ImageNet-1k in %, from the authors' README or, for
            models that it does not list, from the paper.
        published: Whether the authors published a file.
    """

    name: str
    config: str
    top1: str
    published: bool


MODELS = (
    Model('FLatten-Swin-T', 'flatten_swin_t_imagenet', '82.106', True),
    Model('FLatten-Swin-S', 'flatten_swin_s_imagenet', '83.5', True),
    Model('FLatten-Swin-B', 'flatten_swin_b_imagenet', '83.8', True),
    Model('FLatten-Swin-B', 'flatten_swin_b_imagenet_384', '85.0', True),
    Model('FLatten-PVT-T', 'flatten_pvt_t_imagenet', '77.758', True),
    Model('FLatten-PVT-S', 'flatten_pvt_s_imagenet', '81.7', False),
    Model('FLatten-PVTv2-B0', 'flatten_pvt_v2_b0_imagenet', '71.098', True),
    Model('FLatten-PVTv2-B1', 'flatten_pvt_v2_b1_imagenet', '79.5', False),
    Model('FLatten-PVTv2-B2', 'flatten_pvt_v2_b2_imagenet', '82.5', False),
    Model('FLatten-CSwin-T', 'flatten_cswin_t_imagenet', '83.130', True),
    Model('FLatten-CSwin-S', 'flatten_cswin_s_imagenet', '83.8', False),
    Model('FLatten-CSwin-B', 'flatten_cswin_b_imagenet', '84.5', False),
    Model('FLatten-CSwin-B', 'flatten_cswin_b_imagenet_384', '85.5', False),
)


def as_markdown() -> str:
    """The table that docs/pretraining.md has."""
    rows = [
        '| model | classifier | top-1 | file |',
        '| --- | --- | --- | --- |',
    ]
    for model in MODELS:
        file = f'[published]({PAGE})' if model.published else 'none'
        rows.append(
            f'| {model.name} | `{model.config}` | {model.top1} | {file} |'
        )
    return '\n'.join(rows)


if __name__ == '__main__':
    sys.stdout.write(f'{as_markdown()}\n')
