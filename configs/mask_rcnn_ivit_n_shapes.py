# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Mask R-CNN, iViT-N, on the embedded data: what `make demo` trains.
_base_ = './_base_/mask_rcnn_n_shapes.py'
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

model = dict(
    backbone=dict(type='IViT', arch='n'),
    neck=dict(in_channels=[24, 48, 96, 128]),
    roi_head=dict(
        # Classes are learnt last, boxes and masks long before.
        bbox_head=dict(
            type='ConvFCBBoxHead',
            num_shared_convs=1,
            num_shared_fcs=1,
            conv_out_channels=48,
            norm_cfg=dict(type='BN'),
            loss_cls=dict(loss_weight=2.0),
        ),
        # Masks of 14 x 14 are a quarter of the work of 28 x 28.
        mask_roi_extractor=dict(roi_layer=dict(output_size=7)),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=100, max_per_img=50),
        # Few boxes, but half of them with an object in them.
        rcnn=dict(sampler=dict(num=32, pos_fraction=0.5), mask_size=14),
    ),
    test_cfg=dict(rpn=dict(nms_pre=100)),
)

# Small steps and many of them: one cycle of the learning rate in 750.
train_dataloader = dict(batch_size=8)
auto_scale_lr = dict(base_batch_size=8)
max_epochs = 3
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=60),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(checkpoint=dict(interval=max_epochs))
optim_wrapper = dict(
    # One group of parameters, which one operation updates.
    optimizer=dict(lr=0.004, betas=(0.9, 0.99), fused=True),
    paramwise_cfg=None,
)
