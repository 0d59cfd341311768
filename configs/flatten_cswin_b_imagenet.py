# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# FLatten-CSwin-B on ImageNet-1k, 310 epochs, 512 images a step.
_base_ = [
    './_base_/models/imagenet_classifier.py',
    './_base_/datasets/imagenet_flatten.py',
    './_base_/schedules/imagenet_flatten_cswin.py',
    './_base_/cls_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(type='FLattenCSwin', arch='b', drop_path_rate=0.5),
    head=dict(in_channels=768),
)
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(weight_decay=0.1))
custom_hooks = [dict(type='EMAHook', momentum=1.8e-4, priority='BELOW_NORMAL')]
