# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# FLatten-CSwin-T on ImageNet-1k, 310 epochs, 2,048 images a step.
_base_ = [
    './_base_/models/imagenet_classifier.py',
    './_base_/datasets/imagenet_flatten.py',
    './_base_/schedules/imagenet_flatten_cswin.py',
    './_base_/cls_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(type='FLattenCSwin', arch='t', drop_path_rate=0.2),
    head=dict(in_channels=512),
)
train_dataloader = dict(batch_size=256)
