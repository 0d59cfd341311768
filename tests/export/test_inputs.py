# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Images in a graph become what the frameworks make of them."""

from copy import deepcopy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from ivit.engine import UsageError, load_config, merge_data_preprocessor
from ivit.export.inputs import read_normalisation

CONFIGS = [
    'mask_rcnn_ivit_n_shapes',
    'retinanet_ivit_t_coco',
    'upernet_ivit_t_ade20k',
    'sem_fpn_flatten_pvt_t_ade20k',
    'fcn_vit_n_shapes',
    'ivit_t_imagenet',
    'ivit_n_shapes',
    'ivit_n_fractals',
]


def read(name, **options):
    cfg = load_config(name, options)
    merge_data_preprocessor(cfg)
    return cfg


def frameworks_own(cfg, rgb):
    """The result of the data preprocessor, for images as a file has them."""
    settings = deepcopy(cfg.model.data_preprocessor)
    if cfg.default_scope == 'mmpretrain':
        settings.setdefault('type', 'ClsDataPreprocessor')
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        preprocessor = MODELS.build(settings)
    # Only drawn pictures are RGB in a pipeline.
    drawn = cfg.test_dataloader.dataset.type == 'FractalDataset'
    loaded = rgb if drawn else rgb.flip(1)
    if cfg.default_scope == 'mmdet':
        from mmdet.structures import DetDataSample

        samples = [DetDataSample(metainfo={'img_shape': rgb.shape[2:]})]
        samples = samples * len(rgb)
        data = dict(inputs=list(loaded), data_samples=samples)
    elif cfg.default_scope == 'mmseg':
        from mmseg.structures import SegDataSample

        samples = [SegDataSample() for _ in rgb]
        data = dict(inputs=list(loaded), data_samples=samples)
    else:
        data = dict(inputs=loaded)
    return preprocessor(data, training=False)['inputs']


@pytest.mark.parametrize('size', [(64, 96), (33, 75)])
@pytest.mark.parametrize('name', CONFIGS)
def test_they_are_normalised_and_padded_as_the_frameworks_do(name, size):
    cfg = read(name)
    generator = torch.Generator().manual_seed(0)
    rgb = torch.randint(
        0, 256, (2, 3, *size), dtype=torch.uint8, generator=generator
    )
    expected = frameworks_own(cfg, rgb)
    found = read_normalisation(cfg)(rgb)
    assert found.shape == expected.shape
    assert torch.equal(found, expected)


def test_padding_of_a_segmentor_is_that_of_its_test():
    padding = {'model.data_preprocessor.test_cfg': dict(size_divisor=32)}
    cfg = read('upernet_ivit_n_shapes', **padding)
    rgb = torch.full((1, 3, 33, 70), 100, dtype=torch.uint8)
    found = read_normalisation(cfg)(rgb)
    assert found.shape == (1, 3, 64, 96)
    assert torch.equal(found, frameworks_own(cfg, rgb))


def test_without_means_numbers_stay():
    cfg = read('ivit_n_shapes')
    cfg.model.data_preprocessor = dict(type='ImgDataPreprocessor')
    rgb = torch.arange(12, dtype=torch.uint8).view(1, 3, 2, 2)
    assert torch.equal(read_normalisation(cfg)(rgb), rgb.flip(1).float())


@pytest.mark.parametrize(
    ('preprocessor', 'words'),
    [
        (dict(type='VideoDataPreprocessor'), 'VideoDataPreprocessor'),
        (
            dict(type='SegDataPreProcessor', test_cfg=dict(size=(64, 64))),
            'test_cfg.size',
        ),
    ],
)
def test_what_a_graph_cannot_do_is_an_error(preprocessor, words):
    cfg = Config(dict(model=dict(data_preprocessor=preprocessor)))
    with pytest.raises(UsageError, match=words):
        read_normalisation(cfg)
