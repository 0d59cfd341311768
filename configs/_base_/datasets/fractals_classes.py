# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Classes of fractals, drawn while training; see docs/data.md.
data_root = 'data/fractals'
image_size = 64
num_classes = 1000
fractals = dict(
    type='FractalDataset',
    data_root=data_root,
    num_categories=num_classes,
    # One instance a category, as in OFDB: patches, colours and crops take the
    # place of others. FractalDB has 25.
    num_fluctuations=1,
    filling_rate=0.2,
    seed=0,
)
data_preprocessor = dict(
    num_classes=num_classes,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=False,  # they are drawn as RGB
)

train_pipeline = [
    dict(type='DrawFractal', size=image_size),
    dict(
        type='RandomFlip',
        prob=0.75,
        direction=['horizontal', 'vertical', 'diagonal'],
    ),
    dict(
        type='RandomResizedCrop',
        scale=image_size,
        crop_ratio_range=(0.25, 1.0),
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
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='RepeatDataset',  # 25,000 drawings are an epoch
        times=25,
        dataset=dict(**fractals, pipeline=train_pipeline),
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**fractals, test_mode=True, pipeline=test_pipeline),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
