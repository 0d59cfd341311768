# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# FLatten-Swin-B on ImageNet-1k, 300 epochs, 512 images a step.
_base_ = [
    './_base_/models/imagenet_classifier.py',
    './_base_/datasets/imagenet_flatten.py',
    './_base_/schedules/imagenet_flatten_swin.py',
    './_base_/cls_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(type='FLattenSwin', arch='b', drop_path_rate=0.5),
    head=dict(in_channels=1024),
)
train_dataloader = dict(batch_size=64)
