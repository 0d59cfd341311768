# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""``tools/test.py --tta`` with the shipped configs of classifiers."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from ivit.backbones import IViT

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
NAMES = sorted(path.stem for path in CONFIGS.glob('*_imagenet*.py'))
WIDTH = IViT.arch_settings['n']['dims'][-1]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.mark.parametrize('name', NAMES)
def test_the_image_and_its_mirror_image(name):
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    *before, augment = cfg.tta_pipeline
    *plain, pack = cfg.test_dataloader.dataset.pipeline
    assert before == plain  # of this config, not of its base
    assert augment == dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='RandomFlip', prob=p) for p in (0.0, 1.0)],
            [pack],
        ],
    )
    assert cfg.tta_model == dict(type='AverageClsScoreTTA')


def test_scores_are_averaged(tool, tmp_path):
    from mmpretrain.models import ImageClassifier

    for i in range(1000):
        (tmp_path / f'data/imagenet/val/n{i:08}').mkdir(parents=True)
    generator = np.random.default_rng(0)
    pictures = [  # smooth, so that both sides of the middle differ
        np.kron(generator.integers(0, 256, (4, 4, 3)), np.ones((64, 64, 1)))
        for _ in range(2)
    ]
    for i, picture in enumerate(pictures):
        path = tmp_path / f'data/imagenet/val/n{i:08}/{i}.png'
        Image.fromarray(picture.astype(np.uint8)).save(path)
    torch.manual_seed(0)
    model = ImageClassifier(
        backbone=dict(type='IViT', arch='n', out_indices=(3,)),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=1000, in_channels=WIDTH),
    ).eval()
    torch.nn.init.normal_(model.head.fc.weight)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'weights.pth')
    tool(
        'test',
        CONFIGS / 'ivit_t_imagenet.py',
        *('weights.pth', '--tta', '--out', 'out.pkl', '--cfg-options'),
        *('model.backbone.arch=n', f'model.head.in_channels={WIDTH}'),
        *('test_dataloader.num_workers=0', 'log_level=ERROR'),
        'test_dataloader.persistent_workers=False',
    )
    found = pickle.loads((tmp_path / 'out.pkl').read_bytes())
    assert len(found) == 2
    for i, (picture, result) in enumerate(zip(pictures, found, strict=True)):
        # 256 x 256 already: of the evaluation the crop alone is left.
        image = torch.from_numpy(picture / 255)[16:-16, 16:-16]
        image = (image - torch.tensor(MEAN)) / torch.tensor(STD)
        image = image.permute(2, 0, 1)[None].float()
        with torch.no_grad():
            score, mirrored = (
                model(x).softmax(1)[0] for x in (image, image.flip(3))
            )
        assert (score - mirrored).abs().max() > 1e-3
        torch.testing.assert_close(
            result['pred_score'], (score + mirrored) / 2, rtol=0, atol=1e-5
        )
        assert result['gt_label'].tolist() == [i]
