# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# FLatten-Swin-B at 384 x 384, 30 epochs from weights of 224 x 224.
_base_ = [
    './_base_/models/imagenet_classifier.py',
    './_base_/datasets/imagenet_flatten_384.py',
    './_base_/schedules/imagenet_flatten_swin_384.py',
    './_base_/cls_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(
        type='FLattenSwin', arch='b', img_size=384, drop_path_rate=0.5
    ),
    head=dict(in_channels=1024),
)
