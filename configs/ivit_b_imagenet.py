# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# iViT-B on ImageNet-1k, 300 epochs of 1,024 images a step; the recipe is ours.
_base_ = [
    './_base_/models/imagenet_classifier.py',
    './_base_/datasets/imagenet.py',
    './_base_/schedules/imagenet.py',
    './_base_/cls_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(type='IViT', arch='b', drop_path_rate=0.3),
    head=dict(in_channels=640),
)
optim_wrapper = dict(clip_grad=dict(max_norm=1.0))
