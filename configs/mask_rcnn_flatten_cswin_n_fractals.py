# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Mask R-CNN, FLatten-CSwin-N, on scenes of fractals: neck and heads learn too.
_base_ = './_base_/mask_rcnn_n_fractals.py'
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(
        type='FLattenCSwin',
        arch='n',
        img_size=128,
        split_sizes=(1, 2, 4, 4),
    ),
    neck=dict(in_channels=[32, 64, 128, 128]),
)
