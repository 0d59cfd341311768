# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# RetinaNet, FLatten-PVT-S, 1x, 16 images a step.
_base_ = './retinanet_flatten_pvt_t_coco.py'
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(backbone=dict(arch='s'))
