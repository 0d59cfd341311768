# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# FLatten-CSwin-N, classes of fractals: pre-training without data.
_base_ = './flatten_swin_n_fractals.py'
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(
        _delete_=True,
        type='FLattenCSwin',
        arch='n',
        img_size=128,
        split_sizes=(1, 2, 4, 4),
        out_indices=(3,),
    ),
)
