# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The configs say what the recipes they are named after say.

Expected values are written out from Swin's, PVT's and ConvNeXt's configs in
mmdet and Swin's and PoolFormer's in mmseg; docs/configs.md tells which.
"""

from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from torch import nn

from ivit.backbones import FLattenSwin
from ivit.nested import innermost_datasets

# test_imagenet_configs.py has the classifiers.
CONFIGS = sorted(
    path.stem
    for path in (Path(__file__).parents[2] / 'configs').glob('*.py')
    if '_imagenet' not in path.stem
)
EPOCHS, STEPS = 'max_epochs', 'max_iters'
SWIN_1X = dict(
    lr=1e-4,
    weight_decay=0.05,
    norm_decay=0.0,
    warm_up=(1000, 1e-3),
    length=(EPOCHS, 12),
    decay=dict(type='MultiStepLR', milestones=[8, 11], gamma=0.1, begin=0),
    images=2,
    pipelines='mask_rcnn_ivit_t_coco',
)
SWIN_MS_1X = dict(SWIN_1X, pipelines='mask_rcnn_ivit_s_3x_coco')
SWIN_3X = dict(
    SWIN_MS_1X,
    length=(EPOCHS, 36),
    decay=dict(type='MultiStepLR', milestones=[27, 33], gamma=0.1, begin=0),
)
PVT_RETINANET = dict(
    SWIN_1X,
    weight_decay=1e-4,
    norm_decay=1e-4,
    warm_up=(500, 1e-3),
    pipelines='retinanet_ivit_t_coco',
)
PVT_MASK_RCNN = dict(PVT_RETINANET, lr=2e-4, pipelines='mask_rcnn_ivit_t_coco')
SWIN_UPERNET = dict(
    lr=6e-5,
    weight_decay=0.01,
    norm_decay=0.0,
    warm_up=(1500, 1e-6),
    length=(STEPS, 160000),
    decay=dict(type='PolyLR', power=1.0, eta_min=0.0, begin=1500),
    images=2,
    pipelines='upernet_ivit_t_ade20k',
)
POOLFORMER_FPN = dict(
    lr=2e-4,
    weight_decay=1e-4,
    norm_decay=1e-4,
    warm_up=None,
    length=(STEPS, 40000),
    decay=dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0),
    images=4,
    pipelines='sem_fpn_ivit_t_ade20k',
)
SWIN = [f'flatten_{kind}_{a}' for kind in ('swin', 'cswin') for a in 'tsb']
PVT = [
    *(f'flatten_pvt_{arch}' for arch in 'tsmb'),
    *(f'flatten_pvt_v2_b{i}' for i in range(5)),
]
RECIPES = {
    **{f'mask_rcnn_ivit_{arch}_coco': SWIN_1X for arch in 'tsb'},
    'mask_rcnn_ivit_s_3x_coco': SWIN_3X,
    'cascade_mask_rcnn_ivit_s_3x_coco': SWIN_3X,
    **{f'retinanet_ivit_{arch}_coco': PVT_RETINANET for arch in 'ts'},
    **{f'upernet_ivit_{arch}_ade20k': SWIN_UPERNET for arch in 'tsb'},
    **{f'sem_fpn_ivit_{arch}_ade20k': POOLFORMER_FPN for arch in 'ts'},
    **{f'mask_rcnn_{backbone}_coco': SWIN_MS_1X for backbone in SWIN},
    **{f'mask_rcnn_{backbone}_coco': PVT_MASK_RCNN for backbone in PVT},
    'mask_rcnn_flatten_swin_t_3x_coco': SWIN_3X,
    **{f'cascade_mask_rcnn_flatten_swin_{a}_3x_coco': SWIN_3X for a in 'ts'},
    **{f'retinanet_{backbone}_coco': PVT_RETINANET for backbone in PVT},
    **{f'upernet_{backbone}_ade20k': SWIN_UPERNET for backbone in SWIN},
    **{f'sem_fpn_{backbone}_ade20k': POOLFORMER_FPN for backbone in PVT},
}
# Without a classifier, in millions; FLatten's are those of the authors' code.
BACKBONE_PARAMETERS = {
    'ivit_t': 9.8,
    'ivit_s': 25.2,
    'ivit_b': 50.8,
    'flatten_swin_t': 28.42,
    'flatten_swin_s': 49.74,
    'flatten_swin_b': 87.95,
    'flatten_cswin_t': 20.69,
    'flatten_cswin_s': 34.94,
    'flatten_cswin_b': 74.10,
    'flatten_pvt_t': 11.64,
    'flatten_pvt_s': 21.16,
    'flatten_pvt_m': 36.73,
    'flatten_pvt_b': 50.14,
    'flatten_pvt_v2_b0': 3.34,
    'flatten_pvt_v2_b1': 12.42,
    'flatten_pvt_v2_b2': 22.04,
    'flatten_pvt_v2_b3': 37.76,
    'flatten_pvt_v2_b4': 51.32,
}
# The whole model, in millions, in the FLatten paper's tables 1 and 2.
PAPER_PARAMETERS = {
    'sem_fpn_flatten_pvt_t_ade20k': 16,
    'upernet_flatten_swin_t_ade20k': 60,
    'upernet_flatten_swin_s_ade20k': 82,
    'mask_rcnn_flatten_pvt_t_coco': 32,
    'mask_rcnn_flatten_swin_t_coco': 49,
    'mask_rcnn_flatten_swin_t_3x_coco': 49,
    'cascade_mask_rcnn_flatten_swin_t_3x_coco': 87,
    'cascade_mask_rcnn_flatten_swin_s_3x_coco': 108,
}


def backbone_of(name):
    """``flatten_swin_t`` of ``mask_rcnn_flatten_swin_t_3x_coco``."""
    family = name.find('flatten_') if 'flatten' in name else name.find('ivit_')
    return name[family:].rpartition('_')[0].removesuffix('_3x')


def drop_path_rate(name):
    """Swin's and PVT's where they are published, ours for iViT."""
    backbone = backbone_of(name)
    if 'pvt' in backbone:
        return 0.1
    if 'swin' in backbone and 'upernet' in name:
        return 0.3
    return {'t': 0.1 if 'ivit' in name else 0.2, 's': 0.2, 'b': 0.3}[
        backbone[-1]
    ]


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_every_full_size_config_has_a_recipe():
    names = {
        name
        for name in CONFIGS
        if not name.endswith(('shapes', 'fractals', 'one_fractal'))
    }
    assert names == set(RECIPES)


@pytest.mark.parametrize('name', RECIPES)
def test_optimizer(name, load):
    cfg, recipe = load(name), RECIPES[name]
    model = nn.ModuleDict(
        dict(backbone=FLattenSwin('n'), norm=nn.BatchNorm2d(4))
    )
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    assert type(optimizer) is torch.optim.AdamW
    assert optimizer.defaults['betas'] == (0.9, 0.999)
    assert {group['lr'] for group in optimizer.param_groups} == {recipe['lr']}
    decay = {
        parameter: group['weight_decay']
        for group in optimizer.param_groups
        for parameter in group['params']
    }
    for key, parameter in model.named_parameters():
        # The focused attention's scale and positions decay, as the authors'.
        is_free = 'norm' in key or 'relative_position_bias_table' in key
        assert decay[parameter] == (
            recipe['norm_decay'] if is_free else recipe['weight_decay']
        ), key
    assert 'clip_grad' not in cfg.optim_wrapper


@pytest.mark.parametrize('name', RECIPES)
def test_schedule(name, load):
    cfg, recipe = load(name), RECIPES[name]
    key, length = recipe['length']
    assert cfg.train_cfg[key] == length
    *warm_up, decay = cfg.param_scheduler
    if recipe['warm_up'] is None:
        assert warm_up == []
    else:
        end, start_factor = recipe['warm_up']
        assert warm_up == [
            dict(
                type='LinearLR',
                start_factor=start_factor,
                by_epoch=False,
                begin=0,
                end=end,
            )
        ]
    assert decay == dict(recipe['decay'], end=length, by_epoch=(key == EPOCHS))
    # On eight GPUs.
    assert cfg.train_dataloader.batch_size == recipe['images']
    assert cfg.auto_scale_lr == dict(
        enable=False, base_batch_size=8 * recipe['images']
    )


@pytest.mark.parametrize('name', RECIPES)
def test_full_size_model(name, load):
    cfg = load(name)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert cfg.model.backbone.drop_path_rate == drop_path_rate(name)
    assert parameters(model.backbone) / 1e6 == pytest.approx(
        BACKBONE_PARAMETERS[backbone_of(name)], rel=0.01
    )
    if name in PAPER_PARAMETERS:
        assert parameters(model) / 1e6 == pytest.approx(
            PAPER_PARAMETERS[name], abs=1
        )
    if name.startswith('cascade'):
        # Swin-T's Cascade Mask R-CNN has 86 M, 27.5 M of them the backbone's.
        rest = parameters(model) - parameters(model.backbone)
        assert rest == pytest.approx(86e6 - 27.5e6, rel=0.01)


def test_cascade_heads(load):
    cfg = load('cascade_mask_rcnn_ivit_s_3x_coco')
    heads = cfg.model.roi_head.bbox_head
    assert [head.bbox_coder.target_stds for head in heads] == [
        [0.1, 0.1, 0.2, 0.2],
        [0.05, 0.05, 0.1, 0.1],
        [0.033, 0.033, 0.067, 0.067],
    ]
    for head in MODELS.build(cfg.model).roi_head.bbox_head:
        assert type(head).__name__ == 'ConvFCBBoxHead'
        assert [conv.conv.out_channels for conv in head.shared_convs] == [
            256
        ] * 4
        for conv in head.shared_convs:
            assert isinstance(conv.norm, nn.BatchNorm2d)
        assert [fc.out_features for fc in head.shared_fcs] == [1024]
        assert head.reg_decoded_bbox
        assert not head.reg_class_agnostic
        assert type(head.loss_bbox).__name__ == 'GIoULoss'
        assert head.loss_bbox.loss_weight == 10.0
        assert type(head.loss_cls).__name__ == 'CrossEntropyLoss'
        assert head.loss_cls.loss_weight == 1.0


@pytest.mark.parametrize('name', CONFIGS)
def test_pipelines_build(name, load):
    cfg = load(name)
    for part in ('train', 'val', 'test'):
        (dataset,) = innermost_datasets(cfg[f'{part}_dataloader'].dataset)
        Compose(dataset['pipeline'])
    Compose(cfg.tta_pipeline)


@pytest.fixture
def example(tmp_path):
    """An image of 120 x 160 with a box, its mask and a label map."""
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3))
    labels = np.random.default_rng(0).integers(0, 151, (120, 160))
    cv2.imwrite(str(tmp_path / 'image.jpg'), image.astype(np.uint8))
    cv2.imwrite(str(tmp_path / 'labels.png'), labels.astype(np.uint8))
    return dict(
        img_path=str(tmp_path / 'image.jpg'),
        img_id=0,
        height=120,
        width=160,
        instances=[
            dict(
                bbox=[20.0, 20.0, 140.0, 100.0],
                bbox_label=1,
                ignore_flag=0,
                mask=[[20.0, 20.0, 140.0, 20.0, 140.0, 100.0, 20.0, 100.0]],
            )
        ],
        seg_map_path=str(tmp_path / 'labels.png'),
        label_map=None,
        seg_fields=[],
        reduce_zero_label=True,
    )


@pytest.mark.parametrize('name', RECIPES)
def test_pipelines_are_the_recipe_s(name, load):
    cfg, same = load(name), load(RECIPES[name]['pipelines'])
    for part in ('train', 'val', 'test'):
        loader, expected = (
            cfg[f'{part}_dataloader'],
            same[f'{part}_dataloader'],
        )
        assert loader.dataset == expected.dataset
    assert cfg.tta_pipeline == same.tta_pipeline


@pytest.mark.parametrize(
    'name', sorted({recipe['pipelines'] for recipe in RECIPES.values()})
)
def test_pipelines_run(name, example, load):
    cfg = load(name)
    np.random.seed(0)
    train, val, test = (
        Compose(cfg[f'{part}_dataloader'].dataset.pipeline)(deepcopy(example))
        for part in ('train', 'val', 'test')
    )
    height, width = train['inputs'].shape[1:]
    if 'ade20k' in name:
        assert height <= 512
        assert width <= 512
        # 512 x 683 as it is, or its next multiples of 32.
        size = (512, 704) if 'sem_fpn' in name else (512, 683)
        sample = train['data_samples'].gt_sem_seg
        assert sample.shape == (height, width)
        assert set(sample.data.unique().tolist()) <= {*range(150), 255}
    else:
        size = (800, 1067)
        if '3x' in name:
            assert 480 <= min(height, width) <= 800
        else:
            assert (height, width) == size
        for sample in (train, val, test):
            instances = sample['data_samples'].gt_instances
            assert ('masks' in instances) == ('mask_rcnn' in name)
    assert val['inputs'].shape == test['inputs'].shape == (3, *size)
    scales = len(Compose(cfg.tta_pipeline)(example)['inputs'])
    assert scales == (12 if 'ade20k' in name else 6)


def test_multi_scale_crops(load):
    def is_scales(step):
        return step['type'] == 'RandomChoiceResize'

    pipeline = load('mask_rcnn_ivit_s_3x_coco').train_pipeline
    resize, crop = next(
        step['transforms']
        for step in pipeline
        if step['type'] == 'RandomChoice'
    )
    scales = [(side, 1333) for side in range(480, 801, 32)]
    assert [step['scales'] for step in resize] == [scales]
    assert [step['scales'] for step in crop if is_scales(step)] == [
        [(400, 1333), (500, 1333), (600, 1333)],
        scales,
    ]
    assert [
        step['crop_size'] for step in crop if step['type'] == 'RandomCrop'
    ] == [(384, 600)]
