# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Fine-tuning at 384 x 384 from weights of 224 x 224, 512 images a step: a
# cosine of 20 epochs without warm-up, 10 at its end, weights averaged.
_base_ = './imagenet.py'

max_epochs = 20
train_cfg = dict(max_epochs=30)
param_scheduler = _base_.param_scheduler[1:]
param_scheduler[0].update(begin=0, end=max_epochs, eta_min_ratio=0.1)
optim_wrapper = dict(optimizer=dict(lr=5e-6, weight_decay=1e-8))
custom_hooks = [dict(type='EMAHook', momentum=1.8e-4, priority='BELOW_NORMAL')]
auto_scale_lr = dict(base_batch_size=512)
