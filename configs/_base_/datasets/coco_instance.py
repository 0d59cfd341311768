# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Boxes and masks of COCO 2017 at 1333 x 800; see docs/data.md.
_base_ = ['mmdet::_base_/datasets/coco_instance.py', './coco_tta.py']
