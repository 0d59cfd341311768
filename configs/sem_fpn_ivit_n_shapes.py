# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Semantic FPN, iViT-N, on the embedded data: some minutes on two CPU cores.
_base_ = [
    './_base_/models/sem_fpn.py',
    './_base_/datasets/shapes_semantic.py',
    './_base_/schedules/shapes_seg.py',
    './_base_/seg_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

# Background is 87 % of the pixels: at full weight the head says nothing else
# for hundreds of steps.
loss_decode = dict(class_weight=[0.25, 1, 1, 1, 1, 1, 1])
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(type='IViT', arch='n'),
    neck=dict(in_channels=[24, 48, 96, 128], out_channels=64),
    decode_head=dict(
        in_channels=[64] * 4,
        channels=64,
        num_classes=7,
        loss_decode=loss_decode,
    ),
)
default_hooks = dict(
    logger=dict(interval=25),
    checkpoint=dict(interval=500, max_keep_ckpts=1),
)
