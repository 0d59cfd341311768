# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# FLatten-CSwin: weights averaged, 10 epochs at the end of the cosine.
_base_ = './imagenet.py'

train_cfg = dict(max_epochs=310)
# Behind the check of a checkpoint that the tools make.
custom_hooks = [dict(type='EMAHook', momentum=1.6e-4, priority='BELOW_NORMAL')]
