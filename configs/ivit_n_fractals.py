# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# iViT-N, classes of fractals at 64 x 64: pre-training without data.
_base_ = [
    './_base_/datasets/fractals_classes.py',
    './_base_/schedules/fractals_cls.py',
    './_base_/cls_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    type='ImageClassifier',
    backbone=dict(type='IViT', arch='n', out_indices=(3,)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        in_channels=128,
        num_classes=1000,
        loss=dict(type='CrossEntropyLoss'),
    ),
)
default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(interval=1, max_keep_ckpts=2, save_best=None),
)
randomness = dict(seed=0)
