# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""A small data set as a user has one, and configs for it."""

import copy
import json
import shutil
from pathlib import Path

import numpy as np
from mmengine.config import Config
from PIL import Image, ImageDraw

CONFIGS = Path(__file__).parents[2] / 'configs'
CLASSES = ('cat', 'dog', 'bird')
COLORS = ((230, 40, 40), (40, 230, 40), (60, 60, 240))
SIZE = (160, 120)
NUMBERS = dict(train=12, val=6)


def write_data(root):
    """Write images, COCO files and label maps of one scene each."""
    rng = np.random.default_rng(0)
    (root / 'annotations').mkdir(parents=True)
    for split, number in NUMBERS.items():
        images, annotations = [], []
        for kind in ('images', 'labels'):
            (root / kind / split).mkdir(parents=True)
        for i in range(1, number + 1):
            name = f'{i:03d}.png'
            picture = Image.new('RGB', SIZE, (90, 80, 70))
            label_map = Image.new('L', SIZE)
            for label in range(3):
                x, y = rng.integers(0, (110, 70))
                corners = [int(x), int(y), int(x) + 40, int(y) + 40]
                ImageDraw.Draw(picture).rectangle(corners, COLORS[label])
                ImageDraw.Draw(label_map).rectangle(corners, label + 1)
                left, top, right, bottom = corners
                annotations.append(
                    dict(
                        id=len(annotations) + 1,
                        image_id=i,
                        category_id=label + 1,
                        bbox=[left, top, 40, 40],
                        area=1600,
                        iscrowd=0,
                        segmentation=[
                            [left, top, right, top, right, bottom, left]
                            + [bottom]
                        ],
                    )
                )
            picture.save(root / 'images' / split / name)
            label_map.save(root / 'labels' / split / name)
            size = dict(width=SIZE[0], height=SIZE[1])
            images.append(dict(id=i, file_name=name, **size))
        categories = [
            dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)
        ]
        content = dict(
            images=images, annotations=annotations, categories=categories
        )
        ann_file(root, split).write_text(json.dumps(content))
    return root


def ann_file(root, split='train'):
    return root / 'annotations' / f'{split}.json'


def edit(root, change, splits=('train', 'val')):
    """Change the content of annotation files in place."""
    for split in splits:
        content = json.loads(ann_file(root, split).read_text())
        change(content)
        ann_file(root, split).write_text(json.dumps(content))


def rewrite_images(root, convert, suffix='.png', **options):
    """Replace all images by converted ones."""
    for path in sorted((root / 'images').rglob('*.png')):
        picture = convert(Image.open(path))
        path.unlink()
        picture.save(path.with_suffix(suffix), **options)

    def rename(content):
        for image in content['images']:
            name = Path(image['file_name'])
            image['file_name'] = str(name.with_suffix(suffix))

    edit(root, rename)


def rewrite_label_maps(root, convert):
    """Replace all label maps; ``convert`` gets an array."""
    for path in sorted((root / 'labels').rglob('*.png')):
        convert(np.asarray(Image.open(path))).save(path)


def without(root, split, name):
    """Remove an image file."""
    (root / 'images' / split / name).unlink()


def truncate(path, share=3):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // share])


def copy_of(base, tmp_path):
    return Path(shutil.copytree(base, tmp_path / 'data'))


def detection_config(root, base='mask_rcnn_ivit_n_shapes', **metainfo):
    """What a user writes for a COCO data set of three classes."""
    cfg = Config.fromfile(CONFIGS / f'{base}.py')
    heads = dict(bbox_head=dict(num_classes=3), mask_head=dict(num_classes=3))
    cfg.merge_from_dict(dict(model=dict(roi_head=heads)))
    for split, phase in dict(train='train', val='val').items():
        cfg[f'{phase}_dataloader']['dataset'] = dict(
            # As configs have it that are built on mmdet's.
            _scope_='mmdet',
            type='CocoDataset',
            data_root=f'{root}/',
            ann_file=f'annotations/{split}.json',
            data_prefix=dict(img=f'images/{split}/'),
            metainfo=metainfo or dict(classes=CLASSES),
            pipeline=cfg[f'{phase}_dataloader']['dataset']['pipeline'],
        )
        cfg[f'{phase}_dataloader'].batch_size = 4
    cfg.test_dataloader = copy.deepcopy(cfg.val_dataloader)
    cfg.val_evaluator.ann_file = str(ann_file(root, 'val'))
    cfg.test_evaluator = copy.deepcopy(cfg.val_evaluator)
    return cfg


def segmentation_config(
    root, classes=('background', *CLASSES), base='upernet_ivit_n_shapes'
):
    """What a user writes for images and label maps."""
    cfg = Config.fromfile(CONFIGS / f'{base}.py')
    for head in ('decode_head', 'auxiliary_head'):
        cfg.model[head].num_classes = len(classes)
        cfg.model[head].loss_decode.class_weight = None
    for split in ('train', 'val'):
        loader = cfg[f'{split}_dataloader']
        loader['dataset'] = dict(
            type='BaseSegDataset',
            data_root=str(root),
            img_suffix='.png',
            seg_map_suffix='.png',
            data_prefix=dict(
                img_path=f'images/{split}', seg_map_path=f'labels/{split}'
            ),
            metainfo=dict(classes=classes),
            pipeline=loader['dataset']['pipeline'],
        )
        loader.batch_size = 4
    cfg.test_dataloader = copy.deepcopy(cfg.val_dataloader)
    return cfg
