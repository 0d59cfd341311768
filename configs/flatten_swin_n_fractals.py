# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# FLatten-Swin-N, classes of fractals: pre-training without data.
_base_ = './ivit_n_fractals.py'
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(
        _delete_=True,
        type='FLattenSwin',
        arch='n',
        # The tables and windows of the detectors at 128: pictures are 64 x 64.
        img_size=128,
        window_size=8,
        out_indices=(3,),
    ),
)
# With 2e-3, which suits iViT, it learns nothing.
optim_wrapper = dict(optimizer=dict(lr=0.001))
