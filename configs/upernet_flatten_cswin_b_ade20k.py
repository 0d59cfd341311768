# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# UperNet, FLatten-CSwin-B, 160,000 steps of 16 crops of 512 x 512.
_base_ = './upernet_flatten_cswin_t_ade20k.py'
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(arch='b'),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
