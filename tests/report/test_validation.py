# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import EMAHook
from report_cases import Data, Model, make_images, make_runner, make_truth

from ivit.report import validation
from ivit.report.ranking import Worst
from ivit.report.run import find_task
from ivit.report.validation import ValidationImages, choose_palette, spread


def infos(number):
    return [
        dict(
            size=(8 + i, 16),
            found=[(0, 0, 9, 9, i, 0.5)],
            instances=make_truth([(0, 0, 9, 9, 0)]),
        )
        for i in range(number)
    ]


@pytest.mark.parametrize(
    ('total', 'number', 'chosen'),
    [(24, 12, range(0, 24, 2)), (12, 12, range(12)), (5, 12, range(5))],
)
def test_evenly_spaced(total, number, chosen):
    assert spread(total, number) == list(chosen)


def test_one_pass_in_order(tmp_path):
    images = make_images(tmp_path, ('a', 'b'), infos(5))
    labels = [out.pred_instances.labels.item() for out in images.predict()]
    assert labels == list(range(5))
    assert images.sizes == {(16, 8 + i) for i in range(5)}
    assert images.count == 'all 5 validation images'


def test_more_images_than_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(validation, 'MOST_IMAGES', 3)
    images = make_images(tmp_path, ('a', 'b'), infos(7))
    labels = [out.pred_instances.labels.item() for out in images.predict()]
    assert labels == images.indices == [0, 2, 4]
    assert images.count == '3 of 7 validation images, at even intervals'


def test_averaged_weights_are_those_that_were_evaluated(tmp_path):
    class Average(EMAHook):
        def __init__(self):
            self.calls = []

        def before_val_epoch(self, runner):
            self.calls.append('in')

        def after_val_epoch(self, runner, metrics=None):
            self.calls.append('out')

    runner = make_runner(Data(tmp_path, ('a',), infos(3)))
    hook = Average()
    runner.hooks.append(hook)
    runner.model.train()
    passes = ValidationImages(runner).predict()
    next(passes)
    assert hook.calls == ['in']
    assert not runner.model.training
    passes.close()
    assert hook.calls == ['in', 'out']
    assert runner.model.training


def test_palette():
    given = [[1, 2, 3], (4, 5, 6), torch.tensor([7, 8, 9])]
    assert choose_palette(given, 3) == [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    for others in (None, 'random', given):
        palette = choose_palette(others, 40)
        assert len(set(palette)) == 40
        assert all(0 <= x <= 255 for color in palette for x in color)


def test_no_validation():
    with pytest.raises(ValueError, match='val_dataloader'):
        ValidationImages(SimpleNamespace(val_loop=None))


@pytest.mark.parametrize(('classes', 'number'), [(None, 2), (('a',), 0)])
def test_no_classes_or_images(tmp_path, classes, number):
    data = Data(tmp_path, classes, infos(number))
    with pytest.raises(ValueError, match='metainfo') as error:
        ValidationImages(make_runner(data))
    assert f'{number} images' in str(error.value)


def test_no_report_about_such_a_model():
    runner = SimpleNamespace(model=Model([]))
    with pytest.raises(ValueError, match='no report about Model') as error:
        find_task(runner)
    assert 'mmdet, mmseg, mmpretrain' in str(error.value)


def test_worst_few():
    worst = Worst(3)
    for name, score in zip('abcdefg', (5, 1, 9, 1, 0, 7, 1), strict=True):
        worst.add(score, {name})  # things that cannot be compared
    assert worst.ranked() == [(0, {'e'}), (1, {'b'}), (1, {'d'})]
