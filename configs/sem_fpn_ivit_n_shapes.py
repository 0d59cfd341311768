# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Semantic FPN, iViT-N, on the embedded data: some minutes on two CPU cores.
_base_ = [
    './_base_/models/sem_fpn.py',
    './_base_/datasets/shapes_semantic.py',
    './_base_/schedules/shapes_seg.py',
    './_base_/seg_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(type='IViT', arch='n'),
    neck=dict(in_channels=[24, 48, 96, 128], out_channels=64),
    decode_head=dict(in_channels=[64] * 4, channels=64, num_classes=7),
)
default_hooks = dict(
    logger=dict(interval=25),
    checkpoint=dict(interval=250, max_keep_ckpts=1),
)
randomness = dict(seed=0)
