# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# mmdet's Cascade Mask R-CNN; each config brings its backbone.
_base_ = 'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py'

model = dict(backbone=dict(_delete_=True))
