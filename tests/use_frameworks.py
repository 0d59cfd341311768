# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Use ivit where some frameworks are absent, and print what happened as JSON.

Usage: ``python use_frameworks.py SHAPES_ROOT [FRAMEWORK ...]``, with the
frameworks that are to be absent.
"""

import contextlib
import importlib
import io
import json
import sys
from importlib.machinery import PathFinder
from pathlib import Path

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
TINY = dict(num_train=6, num_val=3, image_size=64, seed=1)
DATASETS = {
    'ShapesDetDataset': dict(
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='images/train'),
    ),
    'ShapesSegDataset': dict(
        data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
    ),
    'ShapesClsDataset': dict(data_prefix='classes/train'),
}
USED_CONFIGS = (
    'mask_rcnn_ivit_n_shapes',
    'upernet_ivit_n_shapes',
    'ivit_n_shapes',
)


class WithoutAbsent(PathFinder):
    """Finds everything but the frameworks that are to be absent."""

    absent = frozenset(sys.argv[2:])

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        if fullname.partition('.')[0] in cls.absent:
            return None
        return super().find_spec(fullname, path, target)


def run_backbones():
    """The sizes of the maps of every backbone, built by its name."""
    import torch
    from mmengine.registry import MODELS

    from ivit import backbones

    images = torch.rand(1, 3, 64, 64)
    sizes = {}
    for name in backbones.__all__:
        arch = next(iter(getattr(backbones, name).arch_settings))
        backbone = MODELS.build(dict(type=name, arch=arch)).eval()
        with torch.no_grad():
            sizes[name] = [list(maps.shape[2:]) for maps in backbone(images)]
    return sizes


def create_backbone(name):
    """The channels of the maps of a backbone, built without a config."""
    import ivit

    return ivit.create(name).feature_info.channels()


def build_dataset(root, name):
    """The number of samples."""
    from mmengine.registry import DATASETS as REGISTRY

    cfg = dict(type=name, data_root=root, pipeline=[], **TINY)
    return len(REGISTRY.build({**cfg, **DATASETS[name]}))


def load_config(name):
    """The scope of a config that the tools can use."""
    from ivit.engine import load_config

    return load_config(CONFIGS / f'{name}.py').default_scope


def subclass_dataset(name):
    """The name of a subclass."""
    from ivit import datasets

    return type('Mine', (getattr(datasets, name),), {}).__name__


def build_peer(name):
    """The name of another framework's backbone, built by a short name."""
    from ivit.benchmark import build_backbone

    return type(build_backbone(name)).__name__


def import_room(name):
    """The name of a room that is imported on its own."""
    return importlib.import_module(name).__name__


def check_environment():
    """The exit status and the output of ``check-env``."""
    from ivit import check_env

    with contextlib.redirect_stdout(io.StringIO()) as output:
        status = check_env.main()
    return status, output.getvalue()


def outcome(function, *args):
    """What the function returns, or the error as text."""
    try:
        return function(*args)
    except Exception as error:
        return f'{type(error).__name__}: {error}'


def main():
    root = sys.argv[1]
    sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutAbsent
    import ivit

    rooms = ['ivit.inference', 'ivit.report', 'ivit.studies']
    results = {
        'imported': [room for room in rooms if room in sys.modules],
        'exported': ivit.datasets.__all__,
        'backbones': run_backbones(),
        'created': outcome(create_backbone, 'ivit_n'),
        'datasets': {n: outcome(build_dataset, root, n) for n in DATASETS},
        'subclasses': {n: outcome(subclass_dataset, n) for n in DATASETS},
        'configs': {n: outcome(load_config, n) for n in USED_CONFIGS},
        'rooms': {n: outcome(import_room, n) for n in rooms},
        'peer': outcome(build_peer, 'resnet50'),
        'check_env': check_environment(),
    }
    sys.stdout.write(f'{json.dumps(results)}\n')


if __name__ == '__main__':
    main()
