# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""docs/models.md and configs/metafile.yml say what the configs say."""

import re
from pathlib import Path

import mmengine
import pytest
from modelindex.load_model_index import load as load_model_index

from ivit.benchmark import model_zoo
from ivit.checkpoints import shipped_weights
from ivit.engine import UsageError

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in ROOT.glob('configs/*.py'))
PAGE = (ROOT / model_zoo.PAGE).read_text()
METAFILE = (ROOT / model_zoo.METAFILE).read_text()
LARGE = ('FLatten-PVT', 'FLatten-PVTv2', 'FLatten-CSwin')


@pytest.fixture(scope='module')
def configs(load):
    return {name: load(name) for name in NAMES}


def test_every_config_is_linked_once():
    links = re.findall(r'\]\(\.\./configs/(\w+)\.py\)', PAGE)
    assert sorted(links) == NAMES


@pytest.mark.parametrize(
    'family',
    [
        pytest.param(
            family, marks=[pytest.mark.slow] if family.name in LARGE else []
        )
        for family in model_zoo.FAMILIES
    ],
    ids=lambda family: family.name,
)
def test_sections(family, configs):
    assert model_zoo.as_section(family, configs) in PAGE


def test_the_weights_that_come_with_ivit():
    assert model_zoo.as_weights() in PAGE
    for name in shipped_weights():
        assert f'| `{name}` |' in PAGE


@pytest.mark.slow
def test_the_whole_page(configs):
    assert model_zoo.as_page(configs) == PAGE


@pytest.mark.slow
def test_the_families_in_the_readme(configs):
    rows = model_zoo.as_family_rows(configs, 'docs/models.md')
    assert rows in (ROOT / 'README.md').read_text()


def test_sizes_and_labels_of_a_family(configs):
    family = model_zoo.FAMILIES[0]
    small = {
        name: configs[name]
        for name in (
            'mask_rcnn_ivit_s_3x_coco',
            'mask_rcnn_ivit_s_coco',
            'upernet_ivit_n_shapes',
        )
    }
    lines = model_zoo.as_section(family, small).splitlines()
    header, _, n, t, s, _ = [line for line in lines if line.startswith('|')]
    assert header == '| backbone | parameters | GMACs | Mask R-CNN | UperNet |'
    links = '[shapes](../configs/upernet_ivit_n_shapes.py)'
    assert n == f'| iViT-N | 0.9 M | 0.26 |  | {links} |'
    assert t == '| iViT-T | 10.2 M | 1.50 |  |  |'
    links = ', '.join(
        f'[{label}](../configs/mask_rcnn_ivit_s_{stem}.py)'
        for label, stem in (('1x', 'coco'), ('3x', '3x_coco'))
    )
    assert s == f'| iViT-S | 25.7 M | 4.02 | {links} |  |'


@pytest.mark.slow
def test_the_metafile(configs):
    assert model_zoo.as_metafile(configs) == METAFILE


def test_the_metafile_has_every_config_once():
    content = mmengine.load(ROOT / model_zoo.METAFILE)
    collections = [entry['Name'] for entry in content['Collections']]
    assert collections == [family.name for family in model_zoo.FAMILIES]
    assert [entry['Name'] for entry in content['Models']] == NAMES
    for entry in content['Models']:
        assert entry['Config'] == f'configs/{entry["Name"]}.py'
        assert entry['In Collection'] in collections
        assert 'Weights' not in entry


def test_only_published_accuracies_are_given_and_said_to_be_so():
    for entry in mmengine.load(ROOT / model_zoo.METAFILE)['Models']:
        for result in entry.get('Results', []):
            assert entry['Name'].startswith('flatten')
            (metric,) = result['Metrics']
            assert 'published, not reproduced' in metric


def test_openmmlab_reads_the_index():
    """As mim and mmpretrain do, and as mmengine does."""
    index = load_model_index(str(ROOT / 'model-index.yml'))
    index.build_models_with_collections()
    assert [model.name for model in index.models] == NAMES
    model = index.models[NAMES.index('mask_rcnn_ivit_s_coco')]
    assert model.full_model.paper['URL'].endswith('/2402.17507')
    (part,) = mmengine.load(ROOT / 'model-index.yml')['Import']
    assert Path(part) == model_zoo.METAFILE


def test_outside_of_a_checkout(tmp_path):
    with pytest.raises(UsageError, match='root of the repository'):
        model_zoo.read_configs(tmp_path)
