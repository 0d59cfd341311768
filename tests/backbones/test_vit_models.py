# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Plain transformers in the models of mmpretrain, mmseg and mmdet."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData

SIZES = dict(dim=16, depth=4, num_heads=2)
NORM = dict(type='BN')
# mmseg's neck, in mmdet too: from one stride, 16, to 4, 8, 16 and 32.
PYRAMID = dict(type='mmseg.Feature2Pyramid', embed_dim=16, norm_cfg=NORM)


def backbone(name, **kwargs):
    return dict(type=name, arch=SIZES, img_size=64, **kwargs)


def build(scope, cfg):
    registry = pytest.importorskip(f'{scope}.registry')
    init_default_scope(scope)
    torch.manual_seed(0)
    # As a file has it: a list of necks stays one.
    model = registry.MODELS.build(Config(dict(model=cfg)).model)
    model.init_weights()
    return model.train()


def backward(model, losses):
    loss, _ = model.parse_losses(losses)
    assert loss.isfinite()
    loss.backward()
    for name, parameter in model.backbone.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize('name', ['PlainViT', 'FLattenDeiT'])
def test_classifier(name):
    model = build(
        'mmpretrain',
        dict(
            type='ImageClassifier',
            backbone=backbone(name),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=5, in_channels=16),
        ),
    )
    from mmpretrain.structures import DataSample

    x = torch.randn(2, 3, 64, 64)
    samples = [DataSample().set_gt_label(label) for label in (1, 3)]
    backward(model, model.loss(x, samples))
    model.eval()
    # The mean over the map's cells, then the linear layer.
    features = model.backbone(x)[0].mean((2, 3))
    torch.testing.assert_close(model(x), model.head.fc(features))


@pytest.mark.parametrize('name', ['PlainViT', 'FLattenDeiT'])
def test_upernet(name):
    model = build(
        'mmseg',
        dict(
            type='EncoderDecoder',
            data_preprocessor=dict(type='SegDataPreProcessor'),
            backbone=backbone(name, out_indices=(0, 1, 2, 3)),
            neck=PYRAMID,
            decode_head=dict(
                type='UPerHead',
                in_channels=[16] * 4,
                in_index=[0, 1, 2, 3],
                channels=8,
                num_classes=4,
                norm_cfg=NORM,
            ),
            test_cfg=dict(mode='whole'),
        ),
    )
    from mmseg.structures import SegDataSample

    x = torch.randn(2, 3, 64, 96)
    maps = model.extract_feat(x)
    assert [tuple(m.shape) for m in maps] == [
        (2, 16, 64 // stride, 96 // stride) for stride in (4, 8, 16, 32)
    ]
    labels = torch.randint(4, (2, 1, 64, 96))
    samples = [
        SegDataSample(
            gt_sem_seg=PixelData(data=label), metainfo=dict(img_shape=(64, 96))
        )
        for label in labels
    ]
    backward(model, model.loss(x, samples))
    assert model.eval()(x).shape[:2] == (2, 4)


@pytest.mark.parametrize('name', ['PlainViT', 'FLattenDeiT'])
def test_retinanet(name):
    pytest.importorskip('mmseg')
    model = build(
        'mmdet',
        dict(
            type='RetinaNet',
            data_preprocessor=dict(
                type='DetDataPreprocessor', pad_size_divisor=32
            ),
            backbone=backbone(name, out_indices=(0, 1, 2, 3)),
            neck=[
                PYRAMID,
                dict(
                    type='FPN',
                    in_channels=[16] * 4,
                    out_channels=8,
                    num_outs=5,
                ),
            ],
            bbox_head=dict(
                type='RetinaHead',
                num_classes=3,
                in_channels=8,
                feat_channels=8,
                stacked_convs=1,
                anchor_generator=dict(
                    type='AnchorGenerator',
                    octave_base_scale=4,
                    scales_per_octave=1,
                    ratios=[1.0],
                    strides=[4, 8, 16, 32, 64],
                ),
                bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
            ),
            train_cfg=dict(
                assigner=dict(
                    type='MaxIoUAssigner',
                    pos_iou_thr=0.5,
                    neg_iou_thr=0.4,
                    min_pos_iou=0,
                ),
                allowed_border=-1,
                pos_weight=-1,
            ),
        ),
    )
    from mmdet.structures import DetDataSample

    x = torch.randn(2, 3, 64, 96)
    maps = model.extract_feat(x)
    assert [tuple(m.shape[2:]) for m in maps] == [
        (-(-64 // stride), -(-96 // stride)) for stride in (4, 8, 16, 32, 64)
    ]
    truth = InstanceData(
        bboxes=torch.tensor([[8.0, 8.0, 40.0, 40.0]]),
        labels=torch.tensor([1]),
    )
    meta = dict.fromkeys(('img_shape', 'pad_shape', 'ori_shape'), (64, 96))
    samples = [
        DetDataSample(gt_instances=truth, metainfo=meta) for _ in range(2)
    ]
    backward(model, model.loss(x, samples))
