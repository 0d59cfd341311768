# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Fine-tuning at 384 x 384 from weights of 224 x 224, 512 images a step: 30
# epochs, 5 of them warm-up.
_base_ = './imagenet_flatten_swin.py'

max_epochs = 30
warm_up = 5
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = warm_up
param_scheduler[1].update(begin=warm_up, end=max_epochs, eta_min_ratio=0.01)
optim_wrapper = dict(optimizer=dict(lr=2e-5, weight_decay=1e-8))
auto_scale_lr = dict(base_batch_size=512)
