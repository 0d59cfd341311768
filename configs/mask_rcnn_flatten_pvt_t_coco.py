# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Mask R-CNN, FLatten-PVT-T, 1x, 16 images a step.
_base_ = [
    './_base_/models/mask_rcnn_fpn.py',
    './_base_/datasets/coco_instance.py',
    './_base_/schedules/det_1x_pvt.py',
    './_base_/det_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(type='FLattenPVT', arch='t', drop_path_rate=0.1),
    neck=dict(in_channels=[64, 128, 320, 512]),
)
