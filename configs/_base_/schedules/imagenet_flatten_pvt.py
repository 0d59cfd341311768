# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# FLatten-PVT and PVTv2: 5 epochs of warm-up, 10 at the end of the cosine.
_base_ = './imagenet.py'

warm_up = 5
train_cfg = dict(max_epochs=310)
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = warm_up
param_scheduler[1].begin = warm_up
