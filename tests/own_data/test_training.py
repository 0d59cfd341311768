# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""A folder becomes a model that finds what is in it."""

import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from write_layouts import CLASSES, WRITERS

import ivit
from ivit.annotations.recognise import read_folder
from ivit.cli import main
from ivit.engine import UsageError
from ivit.training import train

TOOLS = Path(__file__).parents[2] / 'tools'
IN_PROCESS = {
    f'{phase}_dataloader.num_workers': 0 for phase in ('train', 'val', 'test')
}
SMALL = dict(
    detection='mask_rcnn_ivit_n_shapes',
    segmentation='upernet_ivit_n_shapes',
    classification='ivit_n_shapes',
)
LAYOUTS = dict(
    detection='yolo, polygons',
    segmentation='voc masks',
    classification='class folders, flat',
)


@pytest.fixture
def root(tmp_path, scenes, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(layout):
        return WRITERS[layout](Path('my data'), scenes) or Path('my data')

    return write


@pytest.mark.slow
@pytest.mark.parametrize('task', SMALL)
def test_from_a_folder_to_predictions(root, task, forget_globals):
    folder = root(LAYOUTS[task])
    run = train(SMALL[task], folder, 2, cfg_options=IN_PROCESS)
    assert run.work_dir == Path(f'work_dirs/{SMALL[task]}_my data')
    assert run.config.is_file()
    assert (run.work_dir / 'report.html').is_file()
    log = next(run.work_dir.glob('*/*.log')).read_text('utf-8')
    for words in ('data: my data: ', '2 epochs of', ', '.join(CLASSES[:2])):
        assert words in log
    model = ivit.load(run)
    assert set(CLASSES) <= set(model.classes)
    image = read_folder(folder, task).splits['train'].images[0]
    assert model.predict(image) is not None
    # The config works by itself, in another process.
    noted = Path((run.work_dir / 'last_checkpoint').read_text())
    subprocess.run(
        [
            *(sys.executable, TOOLS / 'test.py', run.config),
            noted,
        ],
        check=True,
        capture_output=True,
    )


@pytest.mark.slow
def test_heads_of_other_classes_start_anew(root, tmp_path, forget_globals):
    """A detector of six classes goes on with three, and says so."""
    folder = root('coco')
    first = train(SMALL['detection'], folder, 1, cfg_options=IN_PROCESS)
    forget_globals()
    for path in (folder / 'annotations').iterdir():
        content = json.loads(path.read_text('utf-8'))
        content['annotations'] = [
            one for one in content['annotations'] if one['category_id'] != 1
        ]
        path.write_text(json.dumps(content))
    second = train(
        SMALL['detection'],
        folder,
        1,
        load_from=str(first.work_dir / 'epoch_1.pth'),
        work_dir='second',
        cfg_options=IN_PROCESS,
    )
    log = next(second.work_dir.glob('*/*.log')).read_text('utf-8')
    assert 'load_from: kept are backbone' in log
    assert 'start anew: roi_head.bbox_head' in log
    before, after = (
        torch.load(r.work_dir / 'epoch_1.pth', weights_only=False)
        for r in (first, second)
    )
    assert len(after['meta']['dataset_meta']['classes']) == 2
    assert len(before['meta']['dataset_meta']['classes']) == 3


@pytest.mark.slow
def test_a_work_dir_that_was_moved_goes_on(root, forget_globals):
    folder = root('class folders')
    run = train(SMALL['classification'], folder, 1, cfg_options=IN_PROCESS)
    forget_globals()
    moved = Path('elsewhere')
    shutil.move(run.work_dir, moved)
    again = train(
        SMALL['classification'],
        folder,
        2,
        work_dir=moved,
        resume=True,
        cfg_options=IN_PROCESS,
    )
    assert (again.work_dir / 'epoch_2.pth').is_file()
    log = max(moved.glob('*/*.log')).read_text('utf-8')
    assert 'resumed epoch: 1' in log


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({}, ['used has a training', '--resume', '--work-dir']),
        (
            dict(resume='a.pth', load_from='b.pth'),
            ['--resume a.pth', '--load-from b.pth'],
        ),
    ],
)
def test_a_work_dir_that_has_a_training(root, options, words):
    folder = root('coco')
    work_dir = Path('used')
    work_dir.mkdir()
    (work_dir / 'epoch_7.pth').touch()
    (work_dir / 'last_checkpoint').write_text('/nowhere/epoch_7.pth')
    with pytest.raises(UsageError) as caught:
        train(SMALL['detection'], folder, 1, work_dir=work_dir, **options)
    for word in words:
        assert word in str(caught.value)
    assert not (work_dir / 'data').exists()


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--data', 'nowhere'], ['no folder', 'nowhere']),
        (['--data', '.'], ['none of the layouts', 'YOLO', 'a.txt']),
        (['--train-ann', 'a.txt'], ['--train-images']),
        (
            ['--data', '.', '--train-ann', 'a.txt', '--train-images', '.'],
            ['--data', 'leave out'],
        ),
        (
            ['--train-ann', 'a.txt', '--train-images', '.'],
            ['a.txt', 'no JSON'],
        ),
        (['--epochs', '3'], ['--epochs 3', '--data']),
        (
            ['--cfg-options', 'modle.backbone.arch=t'],
            ["'modle'", 'model.backbone.arch'],
        ),
    ],
)
def test_what_cannot_be_trained_on(
    tmp_path, monkeypatch, capsys, options, words
):
    monkeypatch.chdir(tmp_path)
    Path('a.txt').write_text('text')
    with pytest.raises(SystemExit) as ended:
        main(['train', SMALL['detection'], *options])
    assert ended.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith('error: ')
    for word in words:
        assert word in message


def test_faults_stop_before_a_model_is_built(root, monkeypatch):
    folder = root('yolo')
    label = next((folder / 'labels' / 'train').iterdir())
    label.write_text('7 0.5 0.5 0.1 0.1\n')
    monkeypatch.setattr('ivit.engine.build_runner', None)
    with pytest.raises(UsageError) as caught:
        train(SMALL['detection'], folder)
    for word in (label.name, 'class index', 'ivit data'):
        assert word in str(caught.value)


def test_the_options_of_the_command_are_those_of_the_function(monkeypatch):
    given = {}
    monkeypatch.setattr(
        'ivit.cli.train.train', lambda **options: given.update(options)
    )
    main(['train', 'name', '--data', 'folder', '--epochs', '5', '--resume'])
    assert given.pop('config') == 'name'
    assert given['data'] == 'folder'
    assert given['epochs'] == 5
    assert given['resume'] is True
    assert {*given, 'config'} == set(inspect.signature(train).parameters)


def test_several_layouts(root):
    """What fits is named; the task of the config decides where it can."""
    root('voc')
    folder = root('voc masks')
    with pytest.raises(ValueError, match='more than one layout') as caught:
        read_folder(folder)
    assert 'Pascal VOC segmentation' in str(caught.value)
    assert read_folder(folder, 'segmentation').task == 'segmentation'
    with pytest.raises(ValueError, match='classification'):
        read_folder(folder, 'classification')
