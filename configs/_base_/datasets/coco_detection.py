# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Boxes of COCO 2017 at 1333 x 800; see docs/data.md.
_base_ = ['./coco_instance.py']

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile', backend_args=None),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='Resize', scale=(1333, 800), keep_ratio=True),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackDetInputs'),
        ]
    )
)
val_evaluator = dict(metric='bbox')
test_evaluator = dict(metric='bbox')
