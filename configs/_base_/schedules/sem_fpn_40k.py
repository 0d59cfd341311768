# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# 40,000 steps of 32 images: AdamW as PoolFormer's Semantic FPN has it.
max_iters = 40000
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=max_iters, val_interval=4000
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(
        type='PolyLR',
        eta_min=0.0,
        power=0.9,
        begin=0,
        end=max_iters,
        by_epoch=False,
    ),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.0002, weight_decay=0.0001),
)
auto_scale_lr = dict(enable=False, base_batch_size=32)
