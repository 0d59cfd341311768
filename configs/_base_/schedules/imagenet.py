# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# 300 epochs: AdamW, 20 epochs of warm-up, a cosine over the rest. The learning
# rate is 5e-4 for each 512 images of a step, whatever the batch size is.
max_epochs = 300
warm_up = 20
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=1)
val_cfg = dict()
test_cfg = dict()
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-3,
        begin=0,
        end=warm_up,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.01,
        begin=warm_up,
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='AdamW', lr=0.001, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05
    ),
    # None on vectors (biases, norms) and Swin's position tables; those of
    # focused attention and PVT, and `scale`, decay, as the authors' do.
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys=dict(relative_position_bias_table=dict(decay_mult=0.0)),
    ),
)
auto_scale_lr = dict(enable=True, base_batch_size=1024)
