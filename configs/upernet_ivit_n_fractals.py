# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# UperNet, iViT-N, on scenes of fractals: the heads learn too.
_base_ = [
    './upernet_ivit_n_shapes.py',
    './_base_/datasets/fractal_scenes.py',
]
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

scenes = dict(type='FractalScenesSegDataset', **_base_.scenes)
data_root = 'data/fractal_scenes'
train_dataloader = dict(dataset=scenes)
val_dataloader = dict(dataset=scenes)
test_dataloader = val_dataloader

# Background at a quarter, as for the shapes.
loss_decode = dict(class_weight=[0.25] + [1] * 200)
model = dict(
    decode_head=dict(num_classes=201, loss_decode=loss_decode),
    auxiliary_head=dict(num_classes=201, loss_decode=loss_decode),
)
