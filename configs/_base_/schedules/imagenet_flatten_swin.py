# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# FLatten-Swin: a lower end of the cosine, gradients clipped.
_base_ = './imagenet.py'

param_scheduler = _base_.param_scheduler
param_scheduler[1].eta_min_ratio = 0.005
optim_wrapper = dict(clip_grad=dict(max_norm=5.0))
