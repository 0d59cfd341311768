# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Classes of fractals at 224 x 224, augmented as OFDB does (arXiv 2307.14710);
# see docs/data.md.
_base_ = './fractals_classes.py'
image_size = 224
# Pictures are RGB from the start, the means of ImageNet.
mean = [123.675, 116.28, 103.53]
std = [58.395, 57.12, 57.375]

train_pipeline = [
    dict(type='DrawFractal', size=image_size),
    dict(
        type='RandomResizedCrop',
        scale=image_size,
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(
        type='RandomFlip',
        prob=0.75,
        direction=['horizontal', 'vertical', 'diagonal'],
    ),
    # rand-m9-mstd0.5-inc1
    dict(
        type='RandAugment',
        policies='timm_increasing',
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=0, interpolation='bicubic'),
    ),
    dict(
        type='ColorJitter',
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        backend='cv2',
    ),
    dict(
        type='RandomErasing',
        erase_prob=0.5,
        mode='rand',
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        fill_color=mean,
        fill_std=std,
    ),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='DrawFractal', size=image_size),
    dict(type='PackInputs'),
]
tta_pipeline = [
    *test_pipeline[:-1],
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='RandomFlip', prob=0.0),
                dict(type='RandomFlip', prob=1.0),
            ],
            [dict(type='PackInputs')],
        ],
    ),
]
train_dataloader = dict(
    batch_size=256,
    num_workers=8,
    dataset=dict(times=1000, dataset=dict(pipeline=train_pipeline)),
)
val_dataloader = dict(num_workers=4, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
