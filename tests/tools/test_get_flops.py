# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""tools/get_flops.py: against published counts and counts by hand."""

from pathlib import Path

import pytest
from mmengine.utils import import_modules_from_strings

CONFIGS = Path(__file__).parents[2] / 'configs'
SWIN_T = ['type=mmdet.SwinTransformer']
SWIN_S = [*SWIN_T, 'depths=[2,2,18,2]']
PVT_T = ['type=mmdet.PyramidVisionTransformer', 'num_layers=[2,2,2,2]']


@pytest.fixture
def count(tool, capsys):
    """The table: parameters in millions, MACs and products in 1e9."""

    def run(name, *args, backbone=()):
        if backbone:
            # Segmentors do not import them; ivit stands in for mmcv's ops.
            import_modules_from_strings(['ivit', 'mmdet.models'])
            options = ['_delete_=True', *backbone]
            args += (
                '--cfg-options',
                *(f'model.backbone.{o}' for o in options),
            )
        tool('get_flops', CONFIGS / f'{name}.py', *args)
        lines = capsys.readouterr().out.splitlines()
        start = next(i for i, line in enumerate(lines) if 'MACs (G)' in line)
        rows = (line.split(maxsplit=1) for line in lines[start + 1 :])
        return {name: numbers.split() for name, numbers in rows}

    return run


@pytest.mark.parametrize(
    ('name', 'backbone', 'gmacs', 'millions'),
    [
        ('mask_rcnn_flatten_swin_t_coco', SWIN_T, 267, 48),
        ('cascade_mask_rcnn_flatten_swin_t_3x_coco', SWIN_T, 745, 86),
        ('upernet_flatten_swin_t_ade20k', SWIN_T, 945, 60),
        ('upernet_flatten_swin_s_ade20k', SWIN_S, 1038, 81),
        ('mask_rcnn_flatten_pvt_t_coco', PVT_T, 240, 33),
        ('sem_fpn_flatten_pvt_t_ade20k', PVT_T, 158, 17),
    ],
)
def test_published_baselines(count, name, backbone, gmacs, millions):
    params, macs, _ = map(float, count(name, backbone=backbone)['total'])
    assert macs == pytest.approx(gmacs, abs=1)
    assert params == pytest.approx(millions, abs=0.5)


def test_focused_attention_by_hand(count):
    height, width, macs, products, channels = 416, 608, 0, 0, 3
    for stage, dim in enumerate((64, 128, 320, 512)):
        height, width = (n // (2 if stage else 4) for n in (height, width))
        tokens = height * width
        macs += tokens * dim * channels * (4 if stage else 16)
        mlp = 2 * (8 if stage < 2 else 4)
        for _ in range(2):
            # q, k, v, proj; the MLP; DWC of 5 x 5.
            macs += tokens * dim * ((4 + mlp) * dim + 25)
            # k^T v and q (k^T v) of heads of 64 channels.
            products += 2 * tokens * dim * 64
        channels = dim
    cost = count('mask_rcnn_flatten_pvt_t_coco', '--shape', 416, 608)
    assert [float(n) for n in cost['backbone'][1:]] == pytest.approx(
        [(macs + products) / 1e9, products / 1e9], abs=0.006
    )


def test_softmax_windows_by_hand(count):
    # Focused stages of 48 x 80 and 24 x 40, heads of 32 channels; maps of
    # 12 x 20 and 6 x 10 padded to windows of 7 x 7.
    focused = 2 * 2 * 32 * (48 * 80 * 96 + 24 * 40 * 192)
    softmax = 2 * 49 * (6 * 14 * 21 * 384 + 2 * 7 * 14 * 768)
    cost = count('upernet_flatten_swin_t_ade20k', '--shape', 192, 320)
    assert float(cost['backbone'][2]) == pytest.approx(
        (focused + softmax) / 1e9, abs=0.006
    )


def test_rows(count):
    cost = count('upernet_flatten_swin_t_ade20k', '--shape', 64, 64)
    assert list(cost) == ['backbone', 'decode_head', 'auxiliary_head', 'total']
    assert cost['auxiliary_head'][1:] == ['not', 'run']
    for column, names in enumerate((list(cost)[:3], list(cost)[:2])):
        parts = sum(float(cost[name][column]) for name in names)
        assert parts == pytest.approx(float(cost['total'][column]), abs=0.02)


def test_classifier(tool, tmp_path, capsys):
    config = tmp_path / 'resnet.py'
    config.write_text("""
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=50),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=1000, in_channels=2048))
""")
    tool('get_flops', config)
    total = capsys.readouterr().out.splitlines()[-1].split()
    # Torchvision's: 25,557,032 parameters, 4.09 G.
    assert total == ['total', '25.56', '4.09', '0.00']


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ((CONFIGS / 'no_such.py',), 'config not found'),
        (
            (CONFIGS / 'mask_rcnn_ivit_n_shapes.py', '--shape', 0, 64),
            '--shape 0 64',
        ),
    ],
)
def test_mistakes(tool, capsys, args, message):
    with pytest.raises(SystemExit):
        tool('get_flops', *args)
    assert message in capsys.readouterr().err


def test_size_of_an_unknown_task(tool, config, capsys):
    with pytest.raises(SystemExit):
        tool('get_flops', config)
    assert "default_scope='mmengine'" in capsys.readouterr().err
