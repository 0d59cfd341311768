# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Mask R-CNN, FLatten-Swin-B, 1x with multi-scale crops, 16 images a step.
_base_ = './mask_rcnn_flatten_swin_t_coco.py'
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(arch='b', drop_path_rate=0.3),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
