# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Every shipped config builds, trains a step and predicts."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS
from mmengine.structures import InstanceData, PixelData
from mmengine.utils import import_modules_from_strings

HEADS = {
    'mask_rcnn': 'MaskRCNN',
    'cascade_mask_rcnn': 'CascadeRCNN',
    'retinanet': 'RetinaNet',
    'upernet': 'EncoderDecoder',
    'sem_fpn': 'EncoderDecoder',
    'fcn': 'EncoderDecoder',
}
# Two other files here have the classifiers.
CONFIGS = sorted(
    path
    for path in Path(__file__).parents[2].glob('configs/*.py')
    if path.stem.startswith(tuple(HEADS))
)
NAMES = [path.stem for path in CONFIGS]
SWIN = [f'flatten_{kind}_{a}' for kind in ('swin', 'cswin') for a in 'tsb']
PVT = [
    *(f'flatten_pvt_{arch}' for arch in 'tsmb'),
    *(f'flatten_pvt_v2_b{i}' for i in range(5)),
]
EXPECTED = {
    *(f'mask_rcnn_ivit_{arch}_coco' for arch in 'tsb'),
    'mask_rcnn_ivit_s_3x_coco',
    'cascade_mask_rcnn_ivit_s_3x_coco',
    *(f'retinanet_ivit_{arch}_coco' for arch in 'ts'),
    *(f'upernet_ivit_{arch}_ade20k' for arch in 'tsb'),
    *(f'sem_fpn_ivit_{arch}_ade20k' for arch in 'ts'),
    'mask_rcnn_ivit_n_shapes',
    'retinanet_ivit_n_shapes',
    'upernet_ivit_n_shapes',
    'sem_fpn_ivit_n_shapes',
    'upernet_flatten_swin_n_shapes',
    'fcn_vit_n_shapes',
    *(f'mask_rcnn_{backbone}_coco' for backbone in SWIN + PVT),
    'mask_rcnn_flatten_swin_t_3x_coco',
    *(f'cascade_mask_rcnn_flatten_swin_{arch}_3x_coco' for arch in 'ts'),
    *(f'retinanet_{backbone}_coco' for backbone in PVT),
    *(f'upernet_{backbone}_ade20k' for backbone in SWIN),
    *(f'sem_fpn_{backbone}_ade20k' for backbone in PVT),
    *(
        f'mask_rcnn_flatten_{family}_n_{data}'
        for family in ('swin', 'pvt', 'pvt_v2', 'cswin')
        for data in ('shapes', 'fractals')
    ),
    *(
        f'{name}_n_fractals'
        for name in ('mask_rcnn_ivit', 'upernet_ivit', 'upernet_flatten_swin')
    ),
}
BACKBONES = {
    'ivit': 'IViT',
    'flatten_swin': 'FLattenSwin',
    'flatten_cswin': 'FLattenCSwin',
    'flatten_pvt': 'FLattenPVT',
    'flatten_pvt_v2': 'FLattenPVTv2',
    'vit': 'PlainViT',
}
NAME = re.compile(
    rf'({"|".join(HEADS)})_({"|".join(BACKBONES)})_([a-z]\d?)(_3x)?_'
    r'(coco|ade20k|shapes|fractals)'
)
SIZE = (70, 102)


@pytest.fixture
def cfg(request, load):
    return load(request.param)


def one_of_each(names):
    """The names; all but one of each head and family are slow.

    Cascades are slow too: they build what Mask R-CNN does, three times.
    """
    seen = set()
    for name in names:
        head, family, *_ = NAME.fullmatch(name).groups()
        is_slow = (head, family) in seen or head.startswith('cascade')
        marks = [pytest.mark.slow] if is_slow else []
        seen.add((head, family))
        yield pytest.param(name, marks=marks)


every = pytest.mark.parametrize('cfg', NAMES, indirect=True)


def data_of(cfg):
    """Two images with annotations, as the data sets pack them."""
    torch.manual_seed(0)
    inputs = [
        torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8) for _ in range(2)
    ]
    meta = dict(
        ori_shape=SIZE,
        img_shape=SIZE,
        scale_factor=(1.0, 1.0),
        flip=False,
        img_path='image.jpg',
        img_id=0,
    )
    if cfg.default_scope == 'mmseg':
        from mmseg.structures import SegDataSample

        sample = SegDataSample(metainfo=dict(meta))
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 7, (1, *SIZE)))
    else:
        from mmdet.structures import DetDataSample
        from mmdet.structures.mask import BitmapMasks

        sample = DetDataSample(metainfo=dict(meta))
        masks = torch.zeros(2, *SIZE, dtype=torch.uint8)
        masks[0, 8:40, 5:50] = 1
        masks[1, 30:60, 60:95] = 1
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(
                [[5.0, 8.0, 50.0, 40.0], [60.0, 30.0, 95.0, 60.0]]
            ),
            labels=torch.tensor([1, 4]),
            masks=BitmapMasks(masks.numpy(), *SIZE),
        )
    return dict(inputs=inputs, data_samples=[sample, sample.clone()])


def shrink(cfg):
    """Fewer blocks and regions, small crops: the wiring is tested."""
    import_modules_from_strings(**cfg.custom_imports)
    backbone = cfg.model.backbone
    arch = MODELS.get(backbone.type).arch_settings[backbone.arch]
    depth = dict(depths=(1,) * 4) if 'depths' in arch else dict(depth=1)
    backbone.arch = dict(arch, **depth)
    if cfg.default_scope == 'mmseg':
        cfg.model.data_preprocessor.size = SIZE
    elif 'roi_head' in cfg.model:
        rcnn = cfg.model.train_cfg.rcnn
        for stage in rcnn if isinstance(rcnn, list) else [rcnn]:
            stage.sampler.num = 32
        cfg.model.test_cfg.rpn.max_per_img = 50


def test_all_are_there():
    assert set(NAMES) == EXPECTED


@pytest.mark.parametrize('cfg', one_of_each(reversed(NAMES)), indirect=True)
def test_builds_trains_and_predicts(cfg):
    shrink(cfg)
    model = MODELS.build(cfg.model)
    model.train()
    data = model.data_preprocessor(data_of(cfg), training=True)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    assert loss.isfinite()
    loss.backward()
    for name, parameter in model.backbone.named_parameters():
        assert parameter.grad is not None, name
    model.eval()
    with torch.no_grad():
        results = model.test_step(data_of(cfg))
    assert len(results) == 2
    if cfg.default_scope == 'mmseg':
        assert results[0].pred_sem_seg.shape == SIZE
    else:
        assert results[0].pred_instances.bboxes.shape[1] == 4


@every
def test_is_what_its_name_says(cfg, request):
    name = request.node.callspec.id
    head, family, arch, schedule, data = NAME.fullmatch(name).groups()
    assert cfg.model.type == HEADS[head]
    assert cfg.model.backbone.type == BACKBONES[family]
    assert cfg.model.backbone.arch == arch
    assert cfg.custom_imports == dict(
        imports=['ivit'], allow_failed_imports=False
    )
    dataset = cfg.train_dataloader.dataset
    assert {
        'coco': 'coco',
        'ade20k': 'ADEChallengeData2016',
        'shapes': 'shapes',
        'fractals': 'fractal_scenes',
    }[data] in dataset.data_root
    if data == 'coco':
        assert cfg.train_cfg.max_epochs == (36 if schedule else 12)
    # The images of a step that the learning rate is meant for.
    base = cfg.auto_scale_lr.base_batch_size
    gpus = 1 if data in ('shapes', 'fractals') else 8
    assert cfg.train_dataloader.batch_size * gpus == base
    for part in ('val', 'test'):
        assert cfg[f'{part}_dataloader'].dataset.pipeline
        assert cfg[f'{part}_evaluator']
    assert cfg.tta_pipeline
    assert cfg.tta_model


@every
def test_every_metric_is_for_what_the_model_predicts(cfg):
    metric = cfg.test_evaluator.get('metric')
    if cfg.default_scope == 'mmseg':
        assert cfg.test_evaluator.iou_metrics == ['mIoU']
    elif cfg.model.type == 'RetinaNet':
        assert metric == 'bbox'
    else:
        assert metric == ['bbox', 'segm']
