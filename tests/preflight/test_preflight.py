# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Data and configs that do not fit end in one line before a model is built."""

import logging

import numpy as np
import pytest
import user_data as data
from mmengine.logging import MMLogger
from PIL import Image

from ivit.own_data.heads import set_class_counts
from ivit.preflight import check_config


@pytest.fixture(scope='session')
def base(tmp_path_factory):
    return data.write_data(tmp_path_factory.mktemp('own') / 'base')


@pytest.fixture
def root(base, tmp_path):
    return data.copy_of(base, tmp_path)


def error_of(cfg, phases=('train', 'val')):
    with pytest.raises(ValueError) as caught:
        check_config(cfg, phases)
    message = str(caught.value)
    assert '\n' not in message
    return message


def assert_told(message, *words):
    for word in words:
        assert str(word) in message, (word, message)


@pytest.fixture
def warnings_of():
    """The warnings of a config that is not refused."""
    messages = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)

    def check(cfg, phases=('train', 'val')):
        messages.clear()
        check_config(cfg, phases)
        return list(messages)

    yield check
    logger.removeHandler(handler)


def test_nothing_is_wrong(root, warnings_of):
    assert warnings_of(data.detection_config(root)) == []
    assert warnings_of(data.segmentation_config(root)) == []


# Names of classes


@pytest.mark.parametrize(
    ('classes', 'words'),
    [
        (('cat', 'dgo', 'bird'), ["'dgo'", "did you mean 'dog'"]),
        (('Cat', 'Dog', 'Bird'), ["'Cat'", "did you mean 'cat'"]),
        (('bird', 'dog', 'cat'), ['order', "'cat', 'dog', 'bird'"]),
    ],
)
def test_names_that_the_file_does_not_have(root, classes, words):
    cfg = data.detection_config(root, classes=classes)
    message = error_of(cfg)
    assert_told(message, 'train.json', "'cat', 'dog', 'bird'", *words)


@pytest.mark.parametrize(
    'name', ['mask_rcnn_ivit_t_coco', 'cascade_mask_rcnn_ivit_s_3x_coco']
)
def test_a_config_built_on_mmdets(root, name, warnings_of):
    cfg = data.Config.fromfile(data.CONFIGS / f'{name}.py')
    for split in ('train', 'val'):
        dataset = cfg[f'{split}_dataloader'].dataset
        dataset.update(
            data_root=f'{root}/',
            ann_file=f'annotations/{split}.json',
            data_prefix=dict(img=f'images/{split}/'),
            metainfo=dict(classes=data.CLASSES),
        )
    cfg.val_evaluator.ann_file = str(data.ann_file(root, 'val'))
    assert_told(error_of(cfg), 'num_classes=80', '3 classes')
    set_class_counts(cfg, 3)
    assert warnings_of(cfg) == []
    cfg.train_dataloader.dataset.metainfo.classes = ('cat', 'dgo', 'bird')
    assert_told(error_of(cfg), "'dgo'")


def test_the_old_key(root):
    cfg = data.detection_config(root, CLASSES=data.CLASSES)
    assert_told(error_of(cfg), 'CLASSES', "dict(classes=('cat', 'dog'")


def test_names_that_the_data_set_assumes(root):
    cfg = data.detection_config(root)
    for phase in ('train', 'val'):
        cfg[f'{phase}_dataloader'].dataset.metainfo = None
    assert_told(error_of(cfg), 'num_classes=3', '80 classes', 'person')
    for head in ('bbox_head', 'mask_head'):
        cfg.model.roi_head[head].num_classes = 80
    message = error_of(cfg)
    assert_told(message, "'person'", "'cat', 'dog', 'bird'", 'by default')


def test_some_of_the_classes(root, warnings_of):
    cfg = data.detection_config(root, classes=('dog', 'bird'))
    for head in ('bbox_head', 'mask_head'):
        cfg.model.roi_head[head].num_classes = 2
    assert warnings_of(cfg) == []


@pytest.mark.parametrize('number', [2, 6, 80])
def test_a_head_of_another_number(root, number):
    cfg = data.detection_config(root)
    cfg.model.roi_head.mask_head.num_classes = number
    key = 'model.roi_head.mask_head.num_classes'
    assert_told(error_of(cfg), f'{key}={number}', f'Set {key}=3', "'cat'")


def test_a_segmentors_head_of_another_number(root):
    cfg = data.segmentation_config(root)
    cfg.model.auxiliary_head.num_classes = 3
    key = 'model.auxiliary_head.num_classes'
    assert_told(error_of(cfg), f'{key}=3', f'Set {key}=4', "'background'")


def test_a_segmentor_without_names(root):
    cfg = data.segmentation_config(root)
    cfg.train_dataloader.dataset.metainfo = None
    assert_told(error_of(cfg), 'train_dataloader', 'metainfo')


# Objects


def remove(key):
    def change(content):
        for annotation in content['annotations']:
            del annotation[key]

    return change


def empty_masks(content):
    for annotation in content['annotations']:
        annotation['segmentation'] = []


@pytest.mark.parametrize('change', [remove('segmentation'), empty_masks])
def test_boxes_without_masks(root, change):
    data.edit(root, change)
    message = error_of(data.detection_config(root))
    assert_told(message, '36', 'mask', 'retinanet')


@pytest.mark.parametrize('key', ['area', 'id'])
def test_keys_that_are_needed(root, key):
    data.edit(root, remove(key))
    assert_told(error_of(data.detection_config(root)), key, 'train.json')


def all_crowd(content):
    for annotation in content['annotations']:
        annotation['iscrowd'] = 1


def test_every_object_a_crowd(root, warnings_of):
    data.edit(root, all_crowd)
    warnings = warnings_of(data.detection_config(root))
    assert_told(' '.join(warnings), 'iscrowd')


def test_no_object_at_all(root):
    data.edit(root, lambda c: c.update(annotations=[]), ['train'])
    assert_told(error_of(data.detection_config(root)), 'object', 'train')


def test_no_object_to_validate_on(root, warnings_of):
    data.edit(root, lambda c: c.update(annotations=[]), ['val'])
    warnings_of(data.detection_config(root))


def test_names_as_ids(root, warnings_of):
    def rename(content):
        for image in content['images']:
            image['id'] = f'img{image["id"]:03d}'
        for annotation in content['annotations']:
            annotation['image_id'] = f'img{annotation["image_id"]:03d}'

    data.edit(root, rename)
    assert warnings_of(data.detection_config(root)) == []


def test_several_annotation_files(root):
    cfg = data.detection_config(root)
    cfg.train_dataloader.dataset.ann_file = ['a.json', 'b.json']
    assert_told(error_of(cfg), "['a.json', 'b.json']", 'ConcatDataset')


def test_a_path_object(root, warnings_of):
    cfg = data.detection_config(root)
    path = data.ann_file(root)
    cfg.train_dataloader.dataset.ann_file = path
    assert warnings_of(cfg) == []
    assert cfg.train_dataloader.dataset.ann_file == str(path)


@pytest.mark.parametrize('times', [1, 2])
def test_wrappers(root, warnings_of, times):
    cfg = data.detection_config(root)
    dataset = dict(cfg.train_dataloader.dataset)
    cfg.train_dataloader.dataset = dict(
        type='RepeatDataset',
        times=2,
        dataset=dict(type='ConcatDataset', datasets=[dataset] * times),
    )
    assert warnings_of(cfg) == []
    dataset['metainfo'] = dict(classes=('cat', 'dgo', 'bird'))
    cfg.train_dataloader.dataset.dataset.datasets = [dataset] * times
    assert_told(error_of(cfg), "'dgo'")


# Images


def test_an_image_that_is_missing(root):
    data.without(root, 'train', '003.png')
    assert_told(error_of(data.detection_config(root)), '003.png', 'missing')


def test_an_image_that_is_cut_off(root):
    data.truncate(root / 'images' / 'val' / '002.png')
    assert_told(error_of(data.detection_config(root)), '002.png', 'cut off')


def test_a_picture_turned_by_exif(root, warnings_of):
    exif = Image.Exif()
    exif[274] = 6
    data.rewrite_images(root, lambda p: p, '.jpg', exif=exif.tobytes())
    cfg = data.detection_config(root)
    message = error_of(cfg)
    assert_told(message, '001.jpg', 'color_ignore_orientation')
    for phase in ('train', 'val'):
        pipeline = cfg[f'{phase}_dataloader'].dataset.pipeline
        pipeline[0].color_type = 'color_ignore_orientation'
    assert warnings_of(cfg) == []


def to_16_bit(picture):
    return Image.fromarray(
        np.asarray(picture.convert('L')).astype(np.uint16) * 16
    )


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
@pytest.mark.parametrize('make', ['detection_config', 'segmentation_config'])
def test_images_of_16_bit(root, warnings_of, suffix, make):
    data.rewrite_images(root, to_16_bit, suffix)
    cfg = getattr(data, make)(root)
    for phase in ('train', 'val'):
        cfg[f'{phase}_dataloader'].dataset.setdefault('img_suffix', '')
        if make == 'segmentation_config':
            cfg[f'{phase}_dataloader'].dataset.img_suffix = suffix
        else:
            del cfg[f'{phase}_dataloader'].dataset['img_suffix']
    assert_told(' '.join(warnings_of(cfg)), '16', 'unchanged')
    for phase in ('train', 'val'):
        pipeline = cfg[f'{phase}_dataloader'].dataset.pipeline
        pipeline[0].color_type = 'unchanged'
    assert warnings_of(cfg) == []


@pytest.mark.parametrize('mode', ['L', 'RGBA', 'P'])
def test_modes_that_are_read_as_they_should(root, mode):
    data.rewrite_images(root, lambda p: p.convert(mode))
    check_config(data.detection_config(root), ('train', 'val'))
    check_config(data.segmentation_config(root), ('train', 'val'))


# Label maps


BINARY = ('background', 'thing')
PALETTE = np.array([(0, 0, 0), *data.COLORS], np.uint8)


def scaled(factor):
    return lambda a: Image.fromarray(((a > 0) * factor).astype(np.uint8))


def one_more(a):
    return Image.fromarray(np.where(a == 3, 9, a).astype(np.uint8))


@pytest.mark.parametrize(
    ('convert', 'classes', 'words'),
    [
        (one_more, None, ['9', '0', '3']),
        (scaled(1), ('thing',), ['1']),
        (lambda a: Image.fromarray(PALETTE[a]), None, ['3', 'RGB']),
    ],
)
def test_values_without_a_class(root, convert, classes, words):
    data.rewrite_label_maps(root, convert)
    classes = classes or ('background', *data.CLASSES)
    message = error_of(data.segmentation_config(root, classes))
    assert_told(message, 'labels/train/001.png', *words)


def test_a_mask_of_0_and_255(root, warnings_of):
    """255 is left out of training, so nothing but background is learnt."""
    data.rewrite_label_maps(root, scaled(255))
    cfg = data.segmentation_config(root, BINARY)
    assert_told(' '.join(warnings_of(cfg)), '255', "'thing'")


@pytest.mark.parametrize(
    'convert', [scaled(1), lambda a: Image.fromarray(a * 0 + 1)]
)
def test_values_with_classes(root, convert):
    data.rewrite_label_maps(root, convert)
    check_config(data.segmentation_config(root, BINARY), ('train', 'val'))


def test_zero_that_is_left_out(root):
    cfg = data.segmentation_config(root, data.CLASSES)
    for phase in ('train', 'val'):
        cfg[f'{phase}_dataloader'].dataset.reduce_zero_label = True
    check_config(cfg, ('train', 'val'))
    data.rewrite_label_maps(root, one_more)
    assert_told(error_of(cfg), '9')


def test_another_suffix(root):
    cfg = data.segmentation_config(root)
    cfg.train_dataloader.dataset.img_suffix = '.jpg'
    assert_told(error_of(cfg), "'.jpg'", "'.png'", 'img_suffix')


# Loops, batches and evaluators


def test_epochs_that_never_end(root):
    cfg = data.segmentation_config(root)
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2)
    assert_told(error_of(cfg), 'InfiniteSampler', 'DefaultSampler')
    cfg.train_dataloader.sampler.type = 'DefaultSampler'
    check_config(cfg, ('train', 'val'))


def test_one_image_a_step(root):
    cfg = data.segmentation_config(root)
    cfg.train_dataloader.batch_size = 1
    assert_told(error_of(cfg), 'batch_size=1', 'model.decode_head')
    cfg.model.decode_head.norm_cfg = dict(type='GN', num_groups=8)
    check_config(cfg, ('train', 'val'))


def test_an_evaluator_of_other_data(root):
    cfg = data.detection_config(root)
    cfg.test_evaluator.ann_file = str(data.ann_file(root, 'train'))
    message = error_of(cfg, ('test',))
    assert_told(message, 'test_evaluator', 'train.json', 'val.json')
    cfg.test_evaluator.ann_file = f'{root}/labels/../annotations/val.json'
    check_config(cfg, ('test',))


# Widths


def test_an_arch_without_its_neck(root):
    cfg = data.detection_config(root)
    cfg.model.backbone.arch = 't'
    message = error_of(cfg)
    assert_told(message, "arch='t'", 'model.neck.in_channels=[48,96,224,384]')


def test_an_arch_without_its_heads(root):
    cfg = data.segmentation_config(root)
    cfg.model.backbone.arch = 't'
    key = 'model.decode_head.in_channels'
    assert_told(error_of(cfg), f'Set {key}=[48,96,224,384]')
    cfg.model.decode_head.in_channels = [48, 96, 224, 384]
    assert_told(error_of(cfg), 'Set model.auxiliary_head.in_channels=224')


# Classifiers


def test_folders_that_are_not_imagenet(tmp_path):
    for split in ('train', 'val'):
        for name in ('ok', 'defect'):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            Image.new('RGB', (8, 8)).save(folder / '1.png')
    cfg = data.Config.fromfile(data.CONFIGS / 'ivit_n_shapes.py')
    cfg.model.head.num_classes = 2
    for split in ('train', 'val'):
        loader = cfg[f'{split}_dataloader']
        loader['dataset'] = dict(
            type='ImageNet',
            data_root=str(tmp_path),
            split=split,
            pipeline=loader['dataset']['pipeline'],
        )
    message = error_of(cfg)
    assert_told(message, "'defect', 'ok'", '1000', 'CustomDataset')
    for split in ('train', 'val'):
        dataset = cfg[f'{split}_dataloader'].dataset
        dataset.type = 'CustomDataset'
        dataset.data_prefix = dataset.pop('split')
    check_config(cfg, ('train', 'val'))
    cfg.model.head.num_classes = 3
    assert_told(error_of(cfg), 'Set model.head.num_classes=2')
