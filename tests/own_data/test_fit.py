# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Configs are fitted to data of every layout."""

import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.utils import import_modules_from_strings
from PIL import Image
from write_layouts import CLASSES, WRITERS

from ivit.annotations.split import ensure_validation
from ivit.engine import UsageError, packaged_configs
from ivit.nested import iterate_nested
from ivit.own_data import fit_config
from ivit.own_data.heads import iterate_class_counts, set_class_counts
from ivit.preflight import check_config

SMALL = dict(
    detection='mask_rcnn_ivit_n_shapes',
    segmentation='upernet_ivit_n_shapes',
    classification='ivit_n_shapes',
)
LAYOUT_OF = dict(
    mmdet='coco', mmseg='label folders', mmpretrain='class folders'
)
HEADS = ('mask_rcnn', 'cascade', 'retinanet', 'upernet', 'sem_fpn', 'fcn')


@pytest.mark.parametrize(
    'layout',
    [
        pytest.param(
            layout,
            marks=[pytest.mark.slow] * (layout not in LAYOUT_OF.values()),
        )
        for layout in WRITERS
    ],
)
def test_what_was_annotated_is_what_is_trained_on(read, config, layout):
    """The framework's own data set gives back the data, split by split."""
    data = ensure_validation(read(layout))
    cfg = config(SMALL[data.task])
    fit_config(cfg, data)
    check_config(cfg, ('train', 'val', 'test'))
    init_default_scope(cfg.default_scope)
    for phase in ('train', 'val'):
        dataset = cfg[f'{phase}_dataloader'].dataset
        built = DATASETS.build(dict(dataset, pipeline=[]))
        assert built.metainfo['classes'] == data.classes
        infos = [built.get_data_info(i) for i in range(len(built))]
        paths = {Path(info['img_path']) for info in infos}
        wanted = {p.absolute() for p in data.splits[phase].images}
        assert paths == wanted


@pytest.mark.parametrize(
    'layout', [w for w in WRITERS if 'masks' in w or 'label' in w]
)
def test_label_maps_are_what_was_drawn(read, config, scenes, layout):
    """Colours and shifted numbers become indices, pixel by pixel."""
    cfg = config(SMALL['segmentation'])
    fit_config(cfg, ensure_validation(read(layout)))
    init_default_scope('mmseg')
    built = DATASETS.build(dict(cfg.train_dataloader.dataset, pipeline=[]))
    drawn = {s.stem: s.label_map for part in scenes.values() for s in part}
    for i in range(len(built)):
        info = built.get_data_info(i)
        stored = np.asarray(Image.open(info['seg_map_path']))
        wanted = drawn[Path(info['img_path']).stem]
        np.testing.assert_array_equal(stored, wanted)


@pytest.mark.slow
@pytest.mark.parametrize('name', sorted(packaged_configs()))
def test_every_config_takes_data(config, name, read):
    """Heads, evaluators and loaders name the data and nothing else."""
    cfg = config(name)
    fit_config(cfg, read(LAYOUT_OF[cfg.default_scope]))
    number = len(CLASSES) + (cfg.default_scope == 'mmseg')
    counts = dict(iterate_class_counts(cfg.model))
    assert counts
    assert set(counts.values()) == {number}
    for phase in ('train', 'val', 'test'):
        for key, value in iterate_nested(cfg[f'{phase}_dataloader'].to_dict()):
            assert not str(value).startswith('data/'), (key, value)
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        if 'ann_file' in evaluator:
            assert Path(evaluator.ann_file).is_file()
    assert cfg.train_dataloader.dataset.pipeline


def test_the_config_works_by_itself(read, config, tmp_path):
    cfg = config(SMALL['detection'])
    fit_config(cfg, read('yolo, polygons'))
    path = tmp_path / 'alone.py'
    cfg.dump(path)
    alone = Config.fromfile(path)
    import_modules_from_strings(**alone.custom_imports)
    check_config(alone, ('train', 'val', 'test'))
    assert alone.model == cfg.model


@pytest.mark.parametrize('layout', ['yolo', 'voc'])
def test_boxes_alone(read, config, layout):
    cfg = config(SMALL['detection'])
    notes = fit_config(cfg, read(layout))
    assert any('mask head is left out' in note for note in notes)
    assert 'mask_head' not in cfg.model.roi_head
    assert cfg.val_evaluator.metric == ['bbox']
    assert not any(
        key.endswith('with_mask') and value
        for key, value in iterate_nested(cfg.to_dict())
    )
    init_default_scope('mmdet')
    assert not MODELS.build(cfg.model).with_mask


def test_masks_that_cannot_be_left_out(read, config):
    cfg = config(SMALL['detection'])
    cfg.model.type = 'Mask2Former'
    del cfg.model['roi_head']
    with pytest.raises(UsageError, match='Mask2Former') as caught:
        fit_config(cfg, read('yolo'))
    assert 'retinanet' in str(caught.value)


def test_a_panoptic_head():
    model = dict(
        panoptic_head=dict(
            num_things_classes=80,
            num_stuff_classes=53,
            loss_cls=dict(class_weight=[1.0] * 133 + [0.1]),
        ),
        rpn_head=dict(num_classes=1),
    )
    cfg = Config(dict(model=model))
    set_class_counts(cfg, 3)
    head = cfg.model.panoptic_head
    assert (head.num_things_classes, head.num_stuff_classes) == (3, 0)
    assert head.loss_cls.class_weight == [1.0, 1.0, 1.0, 0.1]
    assert cfg.model.rpn_head.num_classes == 1


def test_weights_of_other_classes_are_dropped(read, config):
    cfg = config(SMALL['segmentation'])
    cfg.model.decode_head.loss_decode.class_weight = [0.1, 1, 1, 2, 1, 1, 1]
    fit_config(cfg, read('label folders'))
    assert cfg.model.decode_head.loss_decode.class_weight is None


def test_another_task(read, config):
    with pytest.raises(UsageError, match='segmentation') as caught:
        fit_config(config(SMALL['detection']), read('label folders'))
    assert 'detection' in str(caught.value)


def test_validation_is_drawn_from_a_seed(read):
    data = read('coco, single file')
    first, second = ensure_validation(data), ensure_validation(data)
    sizes = {name: len(split) for name, split in first.splits.items()}
    assert sizes == dict(train=10, val=2)
    for name in ('train', 'val'):
        assert first.splits[name].images == second.splits[name].images
    both = [first.splits[name].images for name in ('train', 'val')]
    assert not set(both[0]) & set(both[1])
    assert set(both[0]) | set(both[1]) == set(data.splits['train'].images)
    assert '2 of 12' in first.notes[-1]


def test_one_image_is_too_few(read):
    data = read('coco, single file')
    data.splits['train'] = data.splits['train'].subset([0])
    with pytest.raises(ValueError, match='1 image'):
        ensure_validation(data)


def test_the_users_folder_is_left_alone(read, config, tmp_path):
    data = read('voc masks')
    before = {p: p.stat().st_mtime_ns for p in data.root.rglob('*')}
    fit_config(config(SMALL['segmentation']), data)
    assert {p: p.stat().st_mtime_ns for p in data.root.rglob('*')} == before
    assert (tmp_path / 'work' / 'data' / 'train.txt').is_file()


def test_a_file_that_needs_nothing_is_used_itself(read, config, tmp_path):
    cfg = config(SMALL['detection'])
    data = read('coco')
    fit_config(cfg, data)
    used = cfg.train_dataloader.dataset.ann_file
    assert Path(used) == data.splits['train'].ann_file.absolute()
    content = json.loads(Path(used).read_text('utf-8'))
    del content['annotations'][0]['area']
    Path(used).write_text(json.dumps(content))
    data.splits['train'].coco['annotations'][0].pop('area')
    notes = fit_config(cfg, data)
    used = Path(cfg.train_dataloader.dataset.ann_file)
    assert used == tmp_path / 'work' / 'data' / 'train.json'
    assert any('areas' in note for note in notes)


def test_background_is_black_and_so_stays_unpainted(read, config):
    data = ensure_validation(read('label folders'))
    data.palette = None
    data.classes = ('Background', *data.classes[1:])
    cfg = config(SMALL['segmentation'])
    fit_config(cfg, data)
    palette = cfg.train_dataloader.dataset.metainfo['palette']
    assert list(palette[0]) == [0, 0, 0]
    assert all(any(color) for color in palette[1:])
