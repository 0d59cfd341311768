# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
_base_ = 'mmdet::_base_/default_runtime.py'

custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

# Distributed training on GPUs shares batch-norm statistics; a single process
# has plain batch norms.
sync_bn = 'torch'
tta_model = dict(
    type='DetTTAModel',
    tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100),
)
