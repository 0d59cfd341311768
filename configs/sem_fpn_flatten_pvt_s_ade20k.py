# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Semantic FPN, FLatten-PVT-S, 40,000 steps of 32 crops of 512 x 512.
_base_ = './sem_fpn_flatten_pvt_t_ade20k.py'
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(backbone=dict(arch='s'))
