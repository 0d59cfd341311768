# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# ADE20K as PoolFormer's recipe in mmseg takes it: 32 images a step on 8 GPUs,
# test images resized to multiples of 32.
_base_ = './ade20k.py'

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    dict(type='ResizeToMultiple', size_divisor=32),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(batch_size=4)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
