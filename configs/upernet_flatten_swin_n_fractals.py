# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# UperNet, FLatten-Swin-N, on scenes of fractals: the heads learn too.
_base_ = './upernet_ivit_n_fractals.py'
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(
        _delete_=True,
        type='FLattenSwin',
        arch='n',
        img_size=128,
        window_size=8,
    ),
)
