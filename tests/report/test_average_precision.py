# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from report_cases import random_instances

pytest.importorskip('mmdet')
from mmdet.evaluation import CocoMetric

from ivit.report.average_precision import evaluate_classes
from ivit.report.instances import Instances, Sample

SIZE = (64, 64)


def boxes_as_masks(boxes):
    masks = []
    for x1, y1, x2, y2 in boxes.round().astype(int):
        mask = np.zeros(SIZE, np.uint8, order='F')
        mask[y1:y2, x1:x2] = 1
        masks.append(coco_mask.encode(mask))
    return masks


def instances(rows, crowds=()):
    """Objects, or with a sixth column detections, with masks."""
    table = np.array(rows, float).reshape(-1, 6 if len(rows[0]) > 5 else 5)
    return Instances(
        table[:, :4],
        table[:, 4].astype(int).tolist(),
        table[:, 5].tolist() if table.shape[1] > 5 else None,
        boxes_as_masks(table[:, :4]),
        set(crowds),
    )


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_by_hand(kind):
    samples = [
        Sample(
            'a.png',
            SIZE,
            instances([(0, 0, 10, 10, 0), (40, 40, 60, 60, 2)]),
            instances([(0, 0, 10, 10, 0, 0.9), (30, 0, 50, 9, 0, 0.8)]),
        ),
        Sample(
            'b.png',
            SIZE,
            instances([(10, 10, 30, 20, 0)]),
            instances([(10, 10, 23, 20, 0, 0.7)]),  # IoU 0.65
        ),
    ]
    result = evaluate_classes(samples, 3, kind)
    # Recalls 0 to 0.5 are reached with precision 1, the others with 2/3.
    found = (51 + 50 * 2 / 3) / 101
    lost = 51 / 101  # at IoU 0.70 and above
    assert result.at_50[0] == pytest.approx(found, abs=1e-12)
    mean = (4 * found + 6 * lost) / 10
    assert result.mean[0] == pytest.approx(mean, abs=1e-12)
    assert np.isnan(result.mean[1])  # no object of this class
    assert np.isnan(result.at_50[1])
    assert result.mean[2] == result.at_50[2] == 0  # missed


def test_no_detection_at_all():
    nothing = Instances(np.zeros((0, 4)), [], [], [])
    samples = [Sample('a.png', SIZE, instances([(0, 0, 9, 9, 0)]), nothing)]
    for kind in ('bbox', 'segm'):
        result = evaluate_classes(samples, 1, kind)
        assert result.mean.tolist() == result.at_50.tolist() == [0]


def test_as_mmdet_logs_it():
    rng = np.random.default_rng(1)
    metric = CocoMetric(metric=['bbox', 'segm'])
    metric.dataset_meta = dict(classes=('a', 'b', 'c'))
    samples = []
    for i in range(12):
        rows = random_instances(rng, 5, 3)
        truth = instances(rows.tolist(), crowds=[0] if i % 3 == 0 else [])
        moved = rows.copy()
        moved[:, :4] += rng.normal(0, 1, (5, 4))
        scores = rng.uniform(0, 1, (5, 1))
        found = instances(np.concatenate([moved, scores], 1).tolist())
        samples.append(Sample(f'{i}.png', SIZE, truth, found))
        answers = [
            dict(
                bbox=truth.boxes[j].tolist(),
                bbox_label=truth.labels[j],
                ignore_flag=int(j in truth.crowds),
                mask=dict(truth.masks[j]),
            )
            for j in range(5)
        ]
        pred = dict(
            bboxes=torch.tensor(found.boxes),
            scores=torch.tensor(found.scores),
            labels=torch.tensor(found.labels),
            masks=[dict(mask) for mask in found.masks],
        )
        metric.process(
            {},
            [
                dict(
                    pred_instances=pred,
                    img_id=i,
                    ori_shape=SIZE,
                    instances=answers,
                )
            ],
        )
    logged = metric.evaluate(12)
    for kind in ('bbox', 'segm'):
        result = evaluate_classes(samples, 3, kind)
        mean = logged[f'coco/{kind}_mAP']
        assert result.mean.mean() == pytest.approx(mean, abs=6e-4)
        at_50 = logged[f'coco/{kind}_mAP_50']
        assert result.at_50.mean() == pytest.approx(at_50, abs=6e-4)
        assert 0.05 < mean < 0.95
