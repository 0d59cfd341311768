# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
# Boxes of COCO 2017 at 1333 x 800, no masks; see docs/data.md.
_base_ = ['mmdet::_base_/datasets/coco_detection.py', './coco_tta.py']
