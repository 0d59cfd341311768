# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Mask R-CNN, FLatten-PVTv2-N, on scenes of fractals: neck and heads learn too.
_base_ = './_base_/mask_rcnn_n_fractals.py'
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(type='FLattenPVTv2', arch='n', img_size=128),
    neck=dict(in_channels=[32, 64, 96, 128]),
)
