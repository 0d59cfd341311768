# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Mask R-CNN, iViT-N, on scenes of fractals: neck and heads learn too.
_base_ = [
    './mask_rcnn_ivit_n_shapes.py',
    './_base_/datasets/fractal_scenes.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

scenes = dict(type='FractalScenesDetDataset', **_base_.scenes)
data_root = 'data/fractal_scenes'
train_dataloader = dict(dataset=scenes)
val_dataloader = dict(dataset=scenes)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + '/annotations/instances_val.json')
test_evaluator = val_evaluator

model = dict(
    roi_head=dict(
        bbox_head=dict(num_classes=200), mask_head=dict(num_classes=200)
    ),
)
