# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# 12 epochs, 16 images a step: AdamW as PVT's Mask R-CNN has it, at twice the
# learning rate of its RetinaNet.
_base_ = './det_1x_retinanet.py'

optim_wrapper = dict(optimizer=dict(lr=0.0002))
