# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Semantic FPN, FLatten-PVTv2-B0, 40,000 steps of 32 crops of 512 x 512.
_base_ = [
    './_base_/models/sem_fpn.py',
    './_base_/datasets/ade20k_fpn.py',
    './_base_/schedules/sem_fpn_40k.py',
    './_base_/seg_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(type='FLattenPVTv2', arch='b0', drop_path_rate=0.1),
    neck=dict(in_channels=[32, 64, 160, 256]),
)
