# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Mask R-CNN, FLatten-Swin-T, 3x with multi-scale crops, 16 images a step.
_base_ = [
    './_base_/models/mask_rcnn_fpn.py',
    './_base_/datasets/coco_instance_ms_crop.py',
    './_base_/schedules/det_3x.py',
    './_base_/det_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(type='FLattenSwin', arch='t', drop_path_rate=0.2),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
