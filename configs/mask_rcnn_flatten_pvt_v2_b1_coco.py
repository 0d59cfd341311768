# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Mask R-CNN, FLatten-PVTv2-B1, 1x, 16 images a step.
_base_ = './mask_rcnn_flatten_pvt_v2_b0_coco.py'
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(arch='b1'),
    neck=dict(in_channels=[64, 128, 320, 512]),
)
