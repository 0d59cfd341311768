# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# iViT-N, classes of crops of the embedded data: minutes on two CPU cores.
_base_ = [
    './_base_/datasets/shapes_classes.py',
    './_base_/schedules/shapes_cls.py',
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
        num_classes=6,
        loss=dict(type='CrossEntropyLoss'),
    ),
)
default_hooks = dict(
    logger=dict(interval=25),
    checkpoint=dict(interval=5, max_keep_ckpts=1, save_best=None),
)
randomness = dict(seed=0)
