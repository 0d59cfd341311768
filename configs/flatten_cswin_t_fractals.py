# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# FLatten-CSwin-T, classes of fractals, 80 M of 224 x 224: OFDB's recipe.
_base_ = [
    './_base_/models/imagenet_classifier.py',
    './_base_/datasets/fractals_classes_224.py',
    './_base_/schedules/fractals_ofdb.py',
    './_base_/cls_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(type='FLattenCSwin', arch='t', drop_path_rate=0.1),
    head=dict(in_channels=512),
)
