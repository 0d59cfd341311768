# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Work dirs of trainings that did not take place."""

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from ivit.datasets.shape_scenes import CLASSES, PALETTE
from ivit.engine import find_config

DETECTOR = 'mask_rcnn_ivit_n_shapes'
SEGMENTORS = ('upernet_ivit_n_shapes', 'sem_fpn_ivit_n_shapes')
CLASSIFIER = 'ivit_n_shapes'
# Factors of the last layers, so that scores are far from each other, and
# from 1.
SCALES = {'fc_cls.weight': 12.0, 'conv_seg.weight': 2.0, 'fc.weight': 8.0}


def classes_of(name):
    """Classes and palette as the data set has them."""
    if name in SEGMENTORS:
        return ('background', *CLASSES), [(0, 0, 0), *PALETTE]
    return CLASSES, list(PALETTE)


def write_run(folder, name, **meta):
    """Write a config and random weights as a training leaves them.

    Args:
        folder: The work dir, which is made.
        name: Name of a config.
        **meta: Other entries of ``dataset_meta``.
    """
    folder.mkdir(parents=True)
    cfg = Config.fromfile(find_config(name))
    cfg.dump(folder / f'{name}.py')
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        torch.manual_seed(0)
        state = MODELS.build(cfg.model).state_dict()
    for key in state:
        for ending, factor in SCALES.items():
            if key.endswith(f'.{ending}'):
                state[key] *= factor
    classes, palette = classes_of(name)
    saved = dict(classes=classes, palette=palette) | meta
    path = folder / 'epoch_3.pth'
    torch.save(dict(state_dict=state, meta=dict(dataset_meta=saved)), path)
    (folder / 'last_checkpoint').write_text(str(path))
    return folder
