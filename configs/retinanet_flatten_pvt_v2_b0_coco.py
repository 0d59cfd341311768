# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# RetinaNet, FLatten-PVTv2-B0, 1x, 16 images a step.
_base_ = [
    './_base_/models/retinanet_fpn.py',
    './_base_/datasets/coco_detection.py',
    './_base_/schedules/det_1x_retinanet.py',
    './_base_/det_runtime.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

# RetinaNet starts at stride 8; a map nobody uses would stop DDP.
model = dict(
    backbone=dict(
        type='FLattenPVTv2',
        arch='b0',
        out_indices=(1, 2, 3),
        drop_path_rate=0.1,
    ),
    neck=dict(in_channels=[64, 160, 256], start_level=0),
)
