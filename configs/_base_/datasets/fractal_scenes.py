# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Settings of the scenes of fractals, for configs made from those of shapes;
# see docs/data.md.
scenes = dict(
    data_root='data/fractal_scenes',
    num_train=10000,
    num_val=300,
    image_size=128,
    num_categories=200,
    seed=0,
)
