# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# ImageNet-1k at 384 x 384, evaluated on whole images, squashed to a square.
_base_ = './imagenet_flatten.py'

train_pipeline = _base_.train_pipeline
train_pipeline[1].scale = 384
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = (384, 384)
test_pipeline.pop(2)
tta_pipeline = [*test_pipeline[:-1], _base_.tta_pipeline[-1]]
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=64, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
