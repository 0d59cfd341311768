# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Mask R-CNN for a backbone of size N, on the embedded data; each config brings
# its backbone and the widths for the neck.
_base_ = [
    './models/mask_rcnn_fpn.py',
    './datasets/shapes_instance.py',
    './schedules/shapes_det.py',
    './det_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

channels = 48
# Shapes are 23 to 64 pixels wide: COCO's assignment of boxes to levels, and
# its anchors, scaled down to them.
roi_extractor = dict(
    roi_layer=dict(sampling_ratio=1),
    out_channels=channels,
    featmap_strides=[4, 8, 16],
    finest_scale=28,
)
model = dict(
    # Norms in the heads too: everything is trained from scratch.
    neck=dict(
        out_channels=channels,
        num_outs=4,
        norm_cfg=dict(type='BN'),
    ),
    rpn_head=dict(
        in_channels=channels,
        feat_channels=channels,
        anchor_generator=dict(
            scales=[5], ratios=[1.0], strides=[4, 8, 16, 32]
        ),
    ),
    roi_head=dict(
        bbox_roi_extractor=roi_extractor,
        bbox_head=dict(
            in_channels=channels,
            fc_out_channels=128,
            num_classes=6,
            reg_class_agnostic=True,
        ),
        mask_roi_extractor=roi_extractor,
        mask_head=dict(
            num_convs=2,
            in_channels=channels,
            conv_out_channels=channels,
            norm_cfg=dict(type='BN'),
            num_classes=6,
        ),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=200, max_per_img=100),
        rcnn=dict(sampler=dict(num=48)),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=200, max_per_img=50), rcnn=dict(max_per_img=20)
    ),
)
default_hooks = dict(
    logger=dict(interval=25),
    checkpoint=dict(interval=2, max_keep_ckpts=1),
)
