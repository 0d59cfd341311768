# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Cascade Mask R-CNN, FLatten-Swin-S, 3x with multi-scale crops, 16 a step.
_base_ = './cascade_mask_rcnn_flatten_swin_t_3x_coco.py'
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(backbone=dict(arch='s'))
