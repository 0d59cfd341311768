# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""``ivit.load``: where it looks, and what it refuses."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from numpy.testing import assert_array_equal
from random_runs import CLASSIFIER, DETECTOR, SEGMENTORS, classes_of
from safetensors.torch import save_file

import ivit
from ivit import cli
from ivit.checkpoints import save_hashed
from ivit.inference import Run

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


@pytest.fixture
def run(work_dirs, tmp_path):
    """A copy of a classifier's work dir, whose note names the old place."""
    folder = tmp_path / 'moved'
    shutil.copytree(work_dirs[CLASSIFIER], folder)
    return folder


def change(path, to, **entries):
    """Write a checkpoint with other entries of ``dataset_meta``."""
    content = torch.load(path, weights_only=False)
    content['meta']['dataset_meta'].update(entries)
    torch.save(content, to)


@pytest.mark.parametrize('name', [DETECTOR, *SEGMENTORS, CLASSIFIER])
def test_every_task(models, name):
    model = models[name]
    classes, palette = classes_of(name)
    assert model.classes == tuple(classes)
    assert model.palette == tuple(palette)
    assert model.task == dict(
        mask_rcnn='detection', ivit_n='classification'
    ).get('_'.join(name.split('_')[:2]), 'segmentation')
    assert model.config.default_scope
    assert not model.module.training


def test_what_a_run_is(run, monkeypatch):
    """A run, a namespace, a folder, and a config with a checkpoint."""
    config, checkpoint = run / f'{CLASSIFIER}.py', run / 'epoch_3.pth'
    monkeypatch.chdir(run.parent)
    expected = ivit.load(run).predict(IMAGE)
    for given in (
        (str(run),),
        (Run(run, config),),
        (SimpleNamespace(work_dir=run),),
        ('moved',),
        (config, checkpoint),
        (str(config), str(checkpoint)),
        (CLASSIFIER, checkpoint),
        (run, checkpoint),
    ):
        result = ivit.load(*given, device='cpu').predict(IMAGE)
        assert_array_equal(result.scores, expected.scores)


@pytest.mark.parametrize('name', [DETECTOR, SEGMENTORS[0]])
def test_a_published_file_of_safetensors(work_dirs, models, name, tmp_path):
    cli.main(
        [
            'publish',
            str(work_dirs[name] / 'epoch_3.pth'),
            str(tmp_path / 'mine.safetensors'),
        ]
    )
    (path,) = tmp_path.iterdir()
    model = ivit.load(name, path, device='cpu')
    expected = models[name]
    assert model.classes == expected.classes
    assert model.palette == expected.palette
    assert_array_equal(
        model.predict(IMAGE, score=0.1).labels,
        expected.predict(IMAGE, score=0.1).labels,
    )
    state = model.module.state_dict()
    for key, value in expected.module.state_dict().items():
        assert torch.equal(state[key], value), key


def test_tensors_alone_in_safetensors(run, tmp_path):
    """Without classes, and with those of another data set in the header."""
    content = torch.load(run / 'epoch_3.pth', weights_only=False)
    path = tmp_path / 'bare.safetensors'
    save_file(content['state_dict'], path)
    assert ivit.load(CLASSIFIER, path).classes == tuple(
        classes_of(CLASSIFIER)[0]
    )
    content['meta']['dataset_meta']['classes'] = ('a', 'b', 'c', 'd', 'e', 'f')
    other = save_hashed(content, tmp_path / 'other.safetensors')
    with pytest.raises(ValueError, match="'a', 'b'.*'circle', 'cross'"):
        ivit.load(CLASSIFIER, other)


def test_a_moved_work_dir_has_its_own_checkpoint(run, work_dirs):
    assert str(work_dirs[CLASSIFIER]) in (run / 'last_checkpoint').read_text()
    assert ivit.load(run).checkpoint == str(run / 'epoch_3.pth')
    # Elsewhere: where the note says.
    (run / 'epoch_3.pth').unlink()
    elsewhere = str(work_dirs[CLASSIFIER] / 'epoch_3.pth')
    assert ivit.load(run).checkpoint == elsewhere
    (run / 'last_checkpoint').write_text('/nowhere/epoch_9.pth')
    with pytest.raises(ValueError, match='/nowhere/epoch_9.pth.*checkpoint'):
        ivit.load(run)


def test_the_best_checkpoint_comes_first(run):
    best = run / 'best_accuracy_top1_epoch_2.pth'
    change(run / 'epoch_3.pth', best)
    assert ivit.load(run).checkpoint == str(best)
    change(run / 'epoch_3.pth', run / 'best_other_epoch_1.pth')
    with pytest.raises(ValueError, match='2 best checkpoints.*best_other'):
        ivit.load(run)
    assert ivit.load(run, best).checkpoint == str(best)


@pytest.mark.parametrize('removed', ['config', 'note'])
def test_incomplete_work_dirs(run, removed):
    path = run / f'{CLASSIFIER}.py'
    if removed == 'note':
        path = run / 'last_checkpoint'
    path.unlink()
    word = dict(config='has none', note='last_checkpoint')[removed]
    with pytest.raises(ValueError, match=word):
        ivit.load(run)


def test_several_configs(run):
    shutil.copy(run / f'{CLASSIFIER}.py', run / 'other.py')
    with pytest.raises(ValueError, match=f'{CLASSIFIER}.py, other.py'):
        ivit.load(run)
    ivit.load(Run(run, run / 'other.py'))


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        (('absent',), ('no folder absent', 'config not found')),
        ((CLASSIFIER,), ('is a config', '--checkpoint')),
        (('some.pth',), ('some.pth', 'is a checkpoint')),
        (('a.safetensors',), ('a.safetensors', 'is a checkpoint')),
        ((CLASSIFIER, 'absent.pth'), ('absent.pth',)),
        ((3,), ('3', 'ivit.train')),
    ],
)
def test_what_is_no_run(given, words):
    with pytest.raises(ValueError, match='.') as caught:
        ivit.load(*given)
    assert all(word in str(caught.value) for word in words)


def test_other_classes_are_refused(run):
    path = run / 'epoch_3.pth'
    change(path, path, classes=('a', 'b', 'c', 'd', 'e', 'f'))
    with pytest.raises(ValueError, match="'a', 'b'.*'circle', 'cross'"):
        ivit.load(run)


def test_without_classes_they_are_the_configs(run):
    path = run / 'epoch_3.pth'
    content = torch.load(path, weights_only=False)
    torch.save(dict(state_dict=content['state_dict']), path)
    assert ivit.load(run).classes == tuple(classes_of(CLASSIFIER)[0])


def test_without_colours_they_differ(run):
    path = run / 'epoch_3.pth'
    for palette in (None, 'random', [(1, 2, 3)]):
        change(path, path, palette=palette)
        colors = ivit.load(run).palette
        assert len(set(colors)) == 6
        assert all(0 <= part <= 255 for color in colors for part in color)


@pytest.mark.parametrize('fault', ['missing', 'shape', 'left over'])
@pytest.mark.parametrize('part', ['backbone.', 'roi_head.mask_head.'])
def test_weights_that_do_not_fit(work_dirs, tmp_path, fault, part):
    path = tmp_path / 'odd.pth'
    content = torch.load(
        work_dirs[DETECTOR] / 'epoch_3.pth', weights_only=False
    )
    state = content['state_dict']
    name = next(key for key in state if key.startswith(part))
    if fault == 'missing':
        del state[name]
    elif fault == 'shape':
        state[name] = state[name][:1]
    else:
        state[f'{part}surplus'] = state[name]
    torch.save(content, path)
    word = part if fault != 'left over' else 'surplus'
    with pytest.raises(ValueError, match=word) as caught:
        ivit.load(work_dirs[DETECTOR], path)
    assert 'odd.pth' in str(caught.value)


def test_a_head_that_the_config_lacks(work_dirs, tmp_path):
    """A detector of boxes does not take half of one with masks."""
    text = (work_dirs[DETECTOR] / f'{DETECTOR}.py').read_text()
    config = tmp_path / 'boxes.py'
    config.write_text(f'{text}\nmodel["roi_head"]["mask_head"] = None\n')
    with pytest.raises(ValueError, match='mask_head'):
        ivit.load(config, work_dirs[DETECTOR] / 'epoch_3.pth')


@pytest.mark.parametrize('device', ['cuda:99', 'gpu'])
def test_devices_that_are_not_there(run, device):
    with pytest.raises(ValueError, match=device):
        ivit.load(run, device=device)


def test_models_of_all_frameworks_side_by_side(models):
    """And no default scope is left behind."""
    for _ in range(2):
        for name in (DETECTOR, SEGMENTORS[0], CLASSIFIER):
            assert models[name].predict(IMAGE).size == (64, 64)
    assert DefaultScope.get_current_instance() is None
