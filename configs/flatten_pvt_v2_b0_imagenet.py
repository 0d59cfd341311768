# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# FLatten-PVTv2-B0 on ImageNet-1k, 310 epochs, 1,024 images a step.
_base_ = [
    './_base_/models/imagenet_classifier.py',
    './_base_/datasets/imagenet_flatten.py',
    './_base_/schedules/imagenet_flatten_pvt.py',
    './_base_/cls_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(type='FLattenPVTv2', arch='b0', drop_path_rate=0.1),
    head=dict(in_channels=256),
)
