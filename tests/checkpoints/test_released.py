# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
from pathlib import Path

import pytest
from mmengine.config import Config

from ivit.checkpoints.released import MODELS, as_markdown

ROOT = Path(__file__).parents[2]


def test_the_docs_have_the_table():
    assert as_markdown() in (ROOT / 'docs/pretraining.md').read_text()


@pytest.mark.parametrize('model', MODELS, ids=lambda model: model.config)
def test_a_model_is_the_one_its_config_builds(model):
    backbone = Config.fromfile(ROOT / f'configs/{model.config}.py').model
    backbone = backbone.backbone
    family, _, arch = model.name.rpartition('-')
    assert backbone.type == family.replace('-', '')
    assert backbone.arch == arch.lower()
    size = 384 if model.config.endswith('_384') else 224
    assert backbone.get('img_size', 224) == size
