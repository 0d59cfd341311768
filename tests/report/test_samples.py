# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData
from torch import nn

from ivit.report import collect_samples

SCORES = [0.9, 0.5, 0.49]


class Data(list):
    """Images 0..n-1 with one object each."""

    def __init__(self, number):
        for i in range(number):
            sample = DetDataSample(metainfo=dict(img_path=f'{i}.jpg'))
            sample.gt_instances = InstanceData(
                bboxes=HorizontalBoxes(torch.tensor([[1.0, 2, 3, 4]])),
                labels=torch.tensor([2]),
                masks=BitmapMasks(np.eye(8, dtype=np.uint8)[None], 8, 8),
            )
            inputs = torch.full((3, 8, 8), float(i))
            self.append(dict(inputs=inputs, data_samples=sample))


class Detector(nn.Module):
    """Finds three objects of the class that the image is filled with."""

    def test_step(self, batch):
        for image, sample in zip(*batch.values(), strict=True):
            assert not self.training
            assert not torch.is_grad_enabled()
            sample.pred_instances = InstanceData(
                bboxes=torch.ones(3, 4),
                labels=image[0, 0, 0].long().repeat(3),
                scores=torch.tensor(SCORES),
                masks=torch.ones(3, 8, 8, dtype=torch.bool),
            )
        return batch['data_samples']


@pytest.mark.parametrize(
    ('number', 'chosen'),
    [(24, range(0, 24, 2)), (12, range(12)), (5, range(5))],
)
def test_evenly_spaced(number, chosen):
    samples = collect_samples(Detector(), Data(number))
    assert [sample.path.name for sample in samples] == [
        f'{i}.jpg' for i in chosen
    ]
    for i, sample in zip(chosen, samples, strict=True):
        assert sample.prediction.labels == [i, i]


def test_truth_and_prediction():
    (sample,) = collect_samples(Detector(), Data(1))
    assert sample.truth.boxes.tolist() == [[1, 2, 3, 4]]
    assert sample.truth.labels == [2]
    assert sample.truth.scores is None
    assert sample.truth.masks.dtype == bool
    assert (sample.truth.masks[0] == np.eye(8)).all()
    assert sample.prediction.scores == pytest.approx([0.9, 0.5])
    assert sample.prediction.boxes.shape == (2, 4)
    assert sample.prediction.masks.shape == (2, 8, 8)
