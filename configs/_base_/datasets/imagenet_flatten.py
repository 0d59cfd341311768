# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# As FLatten's authors evaluate: every image becomes 256 x 256, whatever its
# aspect ratio, before the crop. Their accuracies rest on it.
_base_ = './imagenet.py'

test_pipeline = _base_.test_pipeline
test_pipeline[1] = dict(
    type='Resize',
    scale=(256, 256),
    backend='pillow',
    interpolation='bicubic',
)
tta_pipeline = [*test_pipeline[:-1], _base_.tta_pipeline[-1]]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
