# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Mask R-CNN, iViT-S, 3x with multi-scale crops, 16 images a step.
_base_ = [
    './_base_/models/mask_rcnn_fpn.py',
    './_base_/datasets/coco_instance_ms_crop.py',
    './_base_/schedules/det_3x.py',
    './_base_/det_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(type='IViT', arch='s', drop_path_rate=0.2),
    neck=dict(in_channels=[64, 128, 320, 512]),
)
