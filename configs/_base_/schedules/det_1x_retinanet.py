# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# 12 epochs, 16 images a step: AdamW as PVT's RetinaNet in mmdet has it, with
# a shorter warm-up and weight decay on every parameter.
_base_ = './det_1x.py'

param_scheduler = _base_.param_scheduler
param_scheduler[0].end = 500
optim_wrapper = dict(
    optimizer=dict(weight_decay=0.0001), paramwise_cfg=dict(_delete_=True)
)
