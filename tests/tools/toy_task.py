# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""A task of a few milliseconds for the command line tools."""

import torch
from mmcv.cnn import ConvModule
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset


@MODELS.register_module()
class ToyNet(BaseModel):
    """A backbone from the config and a linear layer on its mean."""

    def __init__(
        self, backbone=None, channels=4, norm_cfg=None, num_classes=3
    ):
        super().__init__()
        self.backbone = (
            MODELS.build(backbone)
            if backbone
            else ConvModule(3, channels, 3, norm_cfg=norm_cfg, act_cfg=None)
        )
        self.head = nn.Linear(channels, num_classes)
        self.dtypes = []  # what autocast made of the features

    def forward(self, inputs, labels, mode='tensor'):
        inputs = torch.stack(inputs)
        features = self.backbone(inputs)
        if isinstance(features, tuple):
            features = features[-1]
        self.dtypes.append(features.dtype)
        scores = self.head(features.mean((2, 3)))
        labels = torch.as_tensor(labels)
        if mode == 'loss':
            return dict(loss=F.cross_entropy(scores, labels))
        hits = scores.argmax(1) == labels
        return [dict(hit=float(hit)) for hit in hits]


@DATASETS.register_module()
class ToyData(Dataset):
    """Noise images in three classes, always the same."""

    metainfo = dict(classes=('a', 'b', 'c'))

    def __init__(self, count=8, size=8):
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(count, 3, size, size, generator=generator)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return dict(inputs=self.images[index], labels=index % 3)


@METRICS.register_module()
class ToyAccuracy(BaseMetric):
    """The share of hits."""

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return dict(accuracy=sum(r['hit'] for r in results) / len(results))
