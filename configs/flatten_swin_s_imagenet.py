# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# FLatten-Swin-S on ImageNet-1k, 300 epochs, 1,024 images a step.
_base_ = [
    './_base_/models/imagenet_classifier.py',
    './_base_/datasets/imagenet_flatten.py',
    './_base_/schedules/imagenet_flatten_swin.py',
    './_base_/cls_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(type='FLattenSwin', arch='s', drop_path_rate=0.3),
    head=dict(in_channels=768),
)
