# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# RetinaNet, FLatten-PVTv2-B2, 1x, 16 images a step.
_base_ = './retinanet_flatten_pvt_v2_b0_coco.py'
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(arch='b2'),
    neck=dict(in_channels=[128, 320, 512]),
)
