# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# iViT-N, classes of perturbations of one fractal: 1p-frac (arXiv 2408.00677).
_base_ = './ivit_n_fractals.py'
custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

one_fractal = dict(
    _delete_=True,
    type='OneFractalDataset',
    data_root='data/fractals',
    num_categories=1000,
    delta=0.1,
    sigma_factor=3.5,
    seed=0,
)
test_dataset = dict(
    **one_fractal, test_mode=True, pipeline={{_base_.test_pipeline}}
)
train_dataloader = dict(
    dataset=dict(
        dataset=dict(**one_fractal, pipeline={{_base_.train_pipeline}})
    )
)
val_dataloader = dict(dataset=test_dataset)
test_dataloader = val_dataloader
