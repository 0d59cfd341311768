# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# UperNet, FLatten-Swin-T, 160,000 steps of 16 crops of 512 x 512.
_base_ = [
    './_base_/models/upernet.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/upernet_160k.py',
    './_base_/seg_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(type='FLattenSwin', arch='t', drop_path_rate=0.3),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
