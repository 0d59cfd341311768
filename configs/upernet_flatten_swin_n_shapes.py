# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# UperNet, FLatten-Swin-N, on the embedded data: minutes on two CPU cores.
_base_ = './upernet_ivit_n_shapes.py'
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
