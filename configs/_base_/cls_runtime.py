# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
_base_ = 'mmpretrain::_base_/default_runtime.py'

custom_imports = dict(imports=['ivit'], allow_failed_imports=False)

# Distributed training on GPUs shares batch-norm statistics; a single process
# has plain batch norms.
sync_bn = 'torch'
env_cfg = dict(cudnn_benchmark=True)
default_hooks = dict(
    checkpoint=dict(max_keep_ckpts=3, save_best='auto'),
)
# Scores are averaged over the image and its mirror image.
tta_model = dict(type='AverageClsScoreTTA')
