# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""tools/get_flops.py: against published counts and counts by hand."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

CONFIGS = Path(__file__).parents[2] / 'configs'
# The configs that come with the packages.
UPSTREAM = {
    name: Path(find_spec(name).origin).parent / '.mim' / 'configs'
    for name in ('mmdet', 'mmseg')
}
SWIN_T = ['type=mmdet.SwinTransformer']
SWIN_S = [*SWIN_T, 'depths=[2,2,18,2]']
PVT_T = ['type=mmdet.PyramidVisionTransformer', 'num_layers=[2,2,2,2]']


@pytest.fixture
def count(tool, capsys):
    """Parameters in millions; MACs, FLOPs and products in 1e9; notes."""

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
        end = next(i for i, line in enumerate(lines) if 'not counted' in line)
        rows = (line.split(maxsplit=1) for line in lines[start + 1 : end])
        cost = {name: numbers.split() for name, numbers in rows}
        return cost, ' '.join(lines[end:])

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
    cost, _ = count(name, backbone=backbone)
    params, macs, flops, _ = map(float, cost['total'])
    assert macs == pytest.approx(gmacs, abs=1)
    assert flops == pytest.approx(2 * macs, abs=0.02)
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
    macs += products
    cost, _ = count('mask_rcnn_flatten_pvt_t_coco', '--shape', 416, 608)
    assert [float(n) for n in cost['backbone'][1:]] == pytest.approx(
        [macs / 1e9, 2 * macs / 1e9, products / 1e9], abs=0.006
    )


def test_softmax_windows_by_hand(count):
    # Focused stages of 48 x 80 and 24 x 40, heads of 32 channels; maps of
    # 12 x 20 and 6 x 10 padded to windows of 7 x 7.
    focused = 2 * 2 * 32 * (48 * 80 * 96 + 24 * 40 * 192)
    softmax = 2 * 49 * (6 * 14 * 21 * 384 + 2 * 7 * 14 * 768)
    cost, _ = count('upernet_flatten_swin_t_ade20k', '--shape', 192, 320)
    assert float(cost['backbone'][3]) == pytest.approx(
        (focused + softmax) / 1e9, abs=0.006
    )


def test_rows(count):
    cost, notes = count('upernet_flatten_swin_t_ade20k', '--shape', 64, 64)
    assert list(cost) == ['backbone', 'decode_head', 'auxiliary_head', 'total']
    assert cost['auxiliary_head'][1:] == ['not', 'run']
    for column, names in enumerate((list(cost)[:3], list(cost)[:2])):
        parts = sum(float(cost[name][column]) for name in names)
        assert parts == pytest.approx(float(cost['total'][column]), abs=0.02)
    # One norm before each branch of 12 blocks, patches, merges, outputs.
    elements = 256 * 96 + sum(
        (16 // 2**i) ** 2 * 96 * 2**i * (2 * (2, 2, 6, 2)[i] + 1)
        for i in range(4)
    )
    elements += sum((16 // 2**i) ** 2 * 96 * 2**i for i in range(3))
    assert f'native_layer_norm {elements / 1e6:.1f}' in notes


def test_second_stage(count):
    _, notes = count('mask_rcnn_flatten_swin_n_shapes', '--shape', 64, 64)
    # 1000 boxes of 7 x 7 and 100 masks of 14 x 14.
    found = re.search(r'roi_align ([\d.]+)', notes)
    config = Config.fromfile(CONFIGS / 'mask_rcnn_flatten_swin_n_shapes.py')
    channels = config.model.neck.out_channels
    elements = channels * (1000 * 49 + 100 * 196)
    assert float(found[1]) == pytest.approx(elements / 1e6, abs=0.06)
    assert 'NMS, was not run' in notes


MODELS = {
    # Torchvision's: 25,557,032 parameters, 4.09 G.
    'resnet50': (
        """default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=50),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=1000, in_channels=2048))
""",
        ['total', '25.56', '4.09', '8.18', '0.00'],
    ),
    # Queries and reference points ask for numbers on the way.
    'deformable_detr': (
        f"""_base_ = '{UPSTREAM['mmdet']}/deformable_detr/'\\
    'deformable-detr_r50_16xb2-50e_coco.py'
model = dict(
    encoder=dict(num_layers=1), decoder=dict(num_layers=1),
    backbone=dict(init_cfg=None))
""",
        ['query_embedding', '0.15', 'not', 'run'],
    ),
    # Its head takes more than maps.
    'mask2former': (
        f"""_base_ = '{UPSTREAM['mmseg']}/mask2former/'\\
    'mask2former_r50_8xb2-160k_ade20k-512x512.py'
model = dict(backbone=dict(init_cfg=None))
""",
        ['backbone', '23.51'],
    ),
    # Its second stage has queries of its own, and updates them.
    'sparse_rcnn': (
        f"""_base_ = '{UPSTREAM['mmdet']}/sparse_rcnn/'\\
    'sparse-rcnn_r50_fpn_1x_coco.py'
model = dict(backbone=dict(init_cfg=None))
""",
        ['roi_head', '79.41', 'not', 'run'],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize('name', MODELS)
def test_models_of_others(tool, tmp_path, capsys, name):
    text, row = MODELS[name]
    config = tmp_path / f'{name}.py'
    config.write_text(
        "custom_imports = dict(imports=['ivit'], "
        f'allow_failed_imports=False)\n{text}'
    )
    size = 224 if name == 'resnet50' else 96
    tool('get_flops', config, '--shape', size, size)
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert row in [found[: len(row)] for found in rows]
    assert ('roi_head was left out' in out) == (name == 'sparse_rcnn')
    if name == 'deformable_detr':
        assert 'grid_sampler_2d' in out


def test_wrong_width_of_a_neck(tool, capsys):
    with pytest.raises(SystemExit):
        tool(
            'get_flops',
            CONFIGS / 'mask_rcnn_ivit_n_shapes.py',
            '--shape',
            64,
            64,
            '--cfg-options',
            'model.neck.in_channels=[24,48,96,120]',
        )
    error = capsys.readouterr().err
    assert 'neck (FPN) does not run on' in error
    assert '1x128x2x2' in error
    assert 'Traceback' not in error


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
