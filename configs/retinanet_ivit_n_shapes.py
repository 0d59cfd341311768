# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# RetinaNet, iViT-N, on the embedded data: some minutes on two CPU cores.
_base_ = [
    './_base_/models/retinanet_fpn.py',
    './_base_/datasets/shapes_instance.py',
    './_base_/schedules/shapes_det.py',
    './_base_/det_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

channels = 64
model = dict(
    backbone=dict(type='IViT', arch='n'),
    neck=dict(
        in_channels=[24, 48, 96, 128],
        out_channels=channels,
        start_level=0,
        num_outs=4,
        # Norms in the heads too: everything is trained from scratch.
        norm_cfg=dict(type='BN'),
    ),
    bbox_head=dict(
        num_classes=6,
        in_channels=channels,
        feat_channels=channels,
        stacked_convs=2,
        # Shapes are 23 to 64 pixels wide.
        anchor_generator=dict(
            octave_base_scale=4,
            scales_per_octave=2,
            ratios=[1.0],
            strides=[4, 8, 16, 32],
        ),
    ),
    test_cfg=dict(nms_pre=200, max_per_img=20),
)
val_evaluator = dict(metric='bbox')
test_evaluator = dict(metric='bbox')
default_hooks = dict(
    logger=dict(interval=25),
    checkpoint=dict(interval=2, max_keep_ckpts=1),
)
