# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Mask R-CNN, FLatten-CSwin-N, on the embedded data: minutes on two CPU cores.
_base_ = './_base_/mask_rcnn_n_shapes.py'
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
