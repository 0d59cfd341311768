# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# FLatten-PVT-N, classes of fractals: pre-training without data.
_base_ = './flatten_swin_n_fractals.py'
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(
        _delete_=True,
        type='FLattenPVT',
        arch='n',
        img_size=128,
        out_indices=(3,),
    ),
)
