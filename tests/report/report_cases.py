# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Small data sets, models and runners for the tests of the report."""

from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from PIL import Image
from torch import nn

from ivit.report.validation import ValidationImages

VOID = {'meta', 'img', 'br', 'link', 'hr', 'input'}


class Page(HTMLParser):
    """Checks that elements are closed, and keeps what the tests ask for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.tables, self.tags = [], [], [], []
        self.found = []
        self.text = ''
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self._element(tag, attrs)

    def handle_startendtag(self, tag, attrs):
        self._element(tag, attrs)

    def _element(self, tag, attrs):
        self.tags.append(tag)
        self.found.append((tag, dict(attrs)))
        wanted = ('src', 'href', 'xlink:href', 'srcset', 'data', 'poster')
        self.links += [value for name, value in attrs if name in wanted]
        if tag == 'table':
            self.tables.append([])
        if tag == 'tr':
            self.tables[-1].append([])
        if tag in ('td', 'th'):
            self.tables[-1][-1].append('')

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ('td', 'th'):
            self.tables[-1][-1][-1] += data
        elif self.open and self.open[-1] != 'style':
            self.text += f' {data}'

    def headings(self, tag='h2'):
        return [name for name, _ in self.found if name == tag]


class Data(list):
    """A data set of dicts, each with an image file of its own size."""

    def __init__(self, folder, classes, infos, palette=None):
        self.metainfo = dict(classes=classes)
        if palette is not None:
            self.metainfo['palette'] = palette
        self.infos = infos
        for i, info in enumerate(infos):
            height, width = info['size']
            path = folder / f'{i:03d}.png'
            Image.new('RGB', (width, height), (9 * i, 90, 120)).save(path)
            meta = dict(
                img_path=str(path),
                ori_shape=(height, width),
                img_shape=(height, width),
            )
            sample = BaseDataElement(metainfo=meta)
            if 'label_map' in info:
                label_map = torch.as_tensor(info['label_map'])[None]
                sample.gt_sem_seg = PixelData(data=label_map)
            self.append(dict(inputs=torch.full((1,), i), data_samples=sample))

    def get_data_info(self, index):
        return self.infos[index]


class Model(nn.Module):
    """Returns what the data set has it predict."""

    def __init__(self, infos):
        super().__init__()
        self.infos = infos

    def val_step(self, batch):
        assert not self.training
        assert not torch.is_grad_enabled()
        for i, sample in zip(*batch.values(), strict=True):
            info = self.infos[int(i)]
            if 'found' in info:
                sample.pred_instances = make_instances(info['found'])
            if 'predicted' in info:
                label_map = torch.as_tensor(info['predicted'])[None]
                sample.pred_sem_seg = PixelData(data=label_map)
        return batch['data_samples']


def make_instances(found):
    """Detections from rows of x1 y1 x2 y2 label score."""
    table = torch.tensor(found, dtype=torch.float32).reshape(-1, 6)
    return InstanceData(
        bboxes=table[:, :4], labels=table[:, 4].long(), scores=table[:, 5]
    )


def make_truth(rows):
    """Objects of mmdet's data sets from rows of x1 y1 x2 y2 label."""
    return [
        dict(bbox=list(map(float, box)), bbox_label=label, ignore_flag=0)
        for *box, label in rows
    ]


def make_runner(dataset, model=None, batch_size=2):
    """As much of a runner as the pass over the validation images needs."""
    return SimpleNamespace(
        val_loop=SimpleNamespace(fp16=False),
        val_dataloader=SimpleNamespace(
            dataset=dataset,
            batch_size=batch_size,
            num_workers=0,
            collate_fn=pseudo_collate,
        ),
        hooks=[],
        model=model or Model(dataset.infos),
    )


def make_images(folder, classes, infos, **kwargs):
    """Validation images and what a model predicts for them."""
    return ValidationImages(
        make_runner(Data(folder, classes, infos, **kwargs))
    )


def random_instances(rng, number, classes, size=64):
    """Rows of boxes with labels."""
    corners = rng.uniform(0, size - 24, (number, 2))
    sides = rng.uniform(8, 24, (number, 2))
    labels = rng.integers(0, classes, (number, 1))
    return np.concatenate([corners, corners + sides, labels], 1)
