# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# FLatten-PVTv2-B5 on ImageNet-1k, 310 epochs, 512 images a step.
# The authors have no recipe for B5: this is that of B4.
_base_ = [
    './_base_/models/imagenet_classifier.py',
    './_base_/datasets/imagenet_flatten.py',
    './_base_/schedules/imagenet_flatten_pvt.py',
    './_base_/cls_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(type='FLattenPVTv2', arch='b5', drop_path_rate=0.3),
    head=dict(in_channels=512),
)
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(clip_grad=dict(max_norm=1.0))
