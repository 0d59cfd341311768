# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# FLatten-CSwin-B at 384 x 384, 30 epochs from weights of 224 x 224.
_base_ = [
    './_base_/models/imagenet_classifier.py',
    './_base_/datasets/imagenet_flatten_384.py',
    './_base_/schedules/imagenet_flatten_cswin_384.py',
    './_base_/cls_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(
        type='FLattenCSwin', arch='b', img_size=384, drop_path_rate=0.7
    ),
    head=dict(in_channels=768),
)
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = (438, 438)
test_pipeline.insert(2, dict(type='CenterCrop', crop_size=384))
tta_pipeline = [*test_pipeline[:-1], _base_.tta_pipeline[-1]]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
