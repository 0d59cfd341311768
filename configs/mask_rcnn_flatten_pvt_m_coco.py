# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Mask R-CNN, FLatten-PVT-M, 1x, 16 images a step.
_base_ = './mask_rcnn_flatten_pvt_t_coco.py'
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(backbone=dict(arch='m'))
