# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import os

import pytest
from mmengine.config import Config

from ivit.engine import UsageError
from ivit.preflight.paths import check_paths

COCO = dict(
    type='CocoDataset',
    data_root='coco',
    ann_file='annotations/train.json',
    data_prefix=dict(img='train2017/'),
)
ADE = dict(
    type='mmseg.ADE20KDataset',
    data_root='ade',
    data_prefix=dict(img_path='images/val', seg_map_path='annotations/val'),
)
IMAGENET = dict(type='ImageNet', data_root='imagenet', split='val')
EVALUATOR = dict(type='CocoMetric', ann_file='coco/annotations/train.json')


def make(path, *names):
    """Make a file for a name with a suffix, else a folder with a file."""
    for name in names:
        place = path / name
        if not place.suffix:
            place = place / 'one.jpg'
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


def missing(dataset, phases=('test',), **cfg):
    loader = dict(test_dataloader=dict(dataset=dataset), **cfg)
    try:
        check_paths(Config(loader), phases)
    except UsageError as error:
        return str(error)
    return ''


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


WHOLE = [
    (COCO, ['coco/annotations/train.json', 'coco/train2017']),
    (ADE, ['ade/images/val', 'ade/annotations/val']),
    (IMAGENET, ['imagenet/val']),
]


@pytest.mark.parametrize(('dataset', 'parts'), WHOLE)
def test_each_half_is_named_and_the_whole_passes(folder, dataset, parts):
    root = folder / dataset['data_root']
    message = missing(dataset)
    assert f'folder {root} with ' in message
    assert 'docs/data.md' in message
    for part in parts:
        assert os.path.relpath(part, dataset['data_root']) in message
    make(folder, *parts)
    assert missing(dataset) == ''
    for part in parts:
        os.rename(folder / part, folder / 'aside')
        make(root, 'other')  # the root itself is there
        message = missing(dataset)
        assert str(folder / part) in message
        for rest in set(parts) - {part}:
            assert str(folder / rest) not in message
        os.rename(folder / 'aside', folder / part)


def test_an_empty_folder_is_missing(folder):
    make(folder, 'coco/annotations/train.json')
    (folder / 'coco/train2017').mkdir()
    assert f'{folder}/coco/train2017' in missing(COCO)


@pytest.mark.parametrize(
    'wrapped',
    [
        dict(type='RepeatDataset', times=2, dataset=COCO),
        dict(type='ConcatDataset', datasets=[IMAGENET, COCO]),
        dict(
            type='MultiImageMixDataset',
            dataset=dict(type='ClassBalancedDataset', dataset=COCO),
        ),
    ],
)
def test_wrappers_are_looked_into(folder, wrapped):
    make(folder, 'imagenet/val')
    message = missing(wrapped)
    assert f'folder {folder}/coco with ' in message
    assert 'imagenet' not in message


def test_evaluators_annotation_file(folder):
    make(folder, 'coco/annotations/other.json', 'coco/train2017')
    dataset = dict(COCO, ann_file='annotations/other.json')
    for evaluator in (EVALUATOR, [EVALUATOR, dict(type='DumpResults')]):
        message = missing(dataset, test_evaluator=evaluator)
        assert f'{folder}/coco/annotations/train.json' in message
    assert missing(dataset) == ''
    # Within a folder that is named as a whole it is not named again.
    message = missing(dict(COCO, data_root='coco2'), test_evaluator=EVALUATOR)
    assert message.count('train.json') == 2
    os.rename(folder / 'coco', folder / 'aside')
    message = missing(COCO, test_evaluator=EVALUATOR)
    assert message.count('train.json') == 1


@pytest.mark.parametrize(
    'dataset',
    [
        dict(COCO, type='ShapesDetDataset'),
        dict(type='CIFAR10', data_root='cifar', split='train'),
        dict(COCO, data_root='s3://bucket/coco'),
        dict(type='ToyData'),
    ],
)
def test_what_is_left_alone(dataset):
    assert missing(dataset) == ''


def test_loaders_not_used_are_left_alone():
    train = dict(dataset=COCO)
    absent = missing(dict(type='ToyData'), train_dataloader=train)
    assert absent == ''
    both = ('train', 'val', 'test')
    assert 'coco' in missing(
        dict(type='ToyData'), both, train_dataloader=train, val_dataloader=None
    )
