# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# OFDB's recipe (arXiv 2307.14710): AdamW, 1e-3 at 256 images a step, a warm-up
# of 5 times 1,000 images, one cosine. 80 epochs of 1 M drawings are its 80,000
# passes through 1,000 images.
max_epochs = 80
warm_up = 20  # steps
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=1)
val_cfg = dict()
test_cfg = dict()
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-3,
        by_epoch=False,
        begin=0,
        end=warm_up,
    ),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.001, weight_decay=0.05),
    # None on biases, norms and Swin's position tables.
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys=dict(relative_position_bias_table=dict(decay_mult=0.0)),
    ),
    clip_grad=dict(max_norm=1.0),  # ours
)
auto_scale_lr = dict(enable=True, base_batch_size=256)
