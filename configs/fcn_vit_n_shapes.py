# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# A plain transformer and one linear layer on its map, on the embedded data:
# nothing but attention carries anything from cell to cell.
_base_ = [
    './_base_/datasets/shapes_semantic.py',
    './_base_/schedules/shapes_seg.py',
    './_base_/seg_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(128, 128),
    ),
    backbone=dict(
        type='PlainViT',
        arch='n',
        attention=dict(type='softmax'),
        img_size=128,
    ),
    decode_head=dict(
        type='FCNHead',
        in_channels=64,
        in_index=0,
        channels=64,
        num_convs=0,
        concat_input=False,
        dropout_ratio=0.0,
        num_classes=7,
        align_corners=False,
        # Background is 87 % of the pixels.
        loss_decode=dict(
            type='CrossEntropyLoss',
            class_weight=[0.25, 1, 1, 1, 1, 1, 1],
        ),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
default_hooks = dict(
    logger=dict(interval=25),
    checkpoint=dict(interval=500, max_keep_ckpts=1),
)
