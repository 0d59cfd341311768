# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# FLatten-Swin-N, classes of crops of the embedded data: minutes on two cores.
_base_ = './ivit_n_shapes.py'
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(
        _delete_=True,
        type='FLattenSwin',
        arch='n',
        # The detector's tables and windows: crops are 64 x 64.
        img_size=128,
        window_size=8,
        out_indices=(3,),
    ),
)
