# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""``ivit predict``."""

import csv
import io
import json
import shutil

import cv2
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image
from pycocotools.coco import COCO
from random_runs import CLASSIFIER, DETECTOR, SEGMENTORS
from skimage import data

from ivit import cli
from ivit.inference import Detections

FEW = ('--score', '0.2', '--device', 'cpu')


@pytest.fixture
def predict(work_dirs, tmp_path, monkeypatch, capsys):
    """Run the command in a new folder; return its status and what it said."""
    monkeypatch.chdir(tmp_path)

    def run(name, *args):
        status = 0
        folder = work_dirs.get(name, name)
        try:
            cli.main(['predict', str(folder), *map(str, args), *FEW])
        except SystemExit as end:
            status = end.code
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def read(path):
    return json.loads(path.read_text())


def files(folder):
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob('*')
        if path.is_file()
    }


def test_a_folder_of_a_detector(predict, images, models, tmp_path):
    status, out, err = predict(DETECTOR, images, '--out', 'new')
    assert status == 0
    assert '3/3' in err
    folder = tmp_path / 'new'
    assert files(folder) == {
        *('images.json', 'predictions.json', 'pictures/a.png'),
        *('pictures/b.jpg', 'pictures/more/a.jpg'),
    }
    coco = COCO(str(folder / 'images.json'))
    names = [image['file_name'] for image in coco.dataset['images']]
    assert names == ['a.png', 'b.jpg', 'more/a.jpg']
    loaded = coco.loadRes(str(folder / 'predictions.json'))
    total = 0
    for image in coco.dataset['images']:
        expected = models[DETECTOR].predict(
            images / image['file_name'], score=0.2
        )
        assert expected.size == (image['width'], image['height'])
        found = loaded.loadAnns(loaded.getAnnIds(imgIds=[image['id']]))
        assert [one['score'] for one in found] == expected.scores.tolist()
        total += len(expected)
        categories = coco.loadCats([one['category_id'] for one in found])
        assert [one['name'] for one in categories] == expected.names
    assert f'new: 3 images, {total} objects' in out
    assert 'epoch_3.pth' in out


def test_an_image_of_a_segmentor(predict, images, models, tmp_path):
    path = images / 'b.jpg'
    assert predict(SEGMENTORS[0], path, '--out', 'new')[0] == 0
    folder = tmp_path / 'new'
    assert files(folder) == {
        *('images.json', 'labels/b.png', 'pictures/b.jpg'),
    }
    expected = models[SEGMENTORS[0]].predict(path)
    with Image.open(folder / 'labels' / 'b.png') as image:
        assert_array_equal(np.asarray(image), expected.labels)
    assert read(folder / 'images.json') == dict(
        images=[
            dict(
                id=1,
                file_name='b.jpg',
                width=120,
                height=90,
                labels='labels/b.png',
            )
        ],
        classes=expected.names,
    )


def test_a_list_of_a_classifier(
    predict, images, models, monkeypatch, tmp_path
):
    """With batches, and the same image twice."""
    paths = [images / 'a.png', images / 'more' / 'a.jpg', images / 'a.png']
    lines = '\n\n'.join(map(str, paths))
    monkeypatch.setattr('sys.stdin', io.StringIO(lines))
    status, out, _ = predict(
        *(CLASSIFIER, '-', '--batch-size', 2), '--out', 'new'
    )
    assert status == 0
    with open('new/predictions.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['file_name'] for row in rows] == list(map(str, paths))
    for row, path in zip(rows, paths, strict=True):
        expected = models[CLASSIFIER].predict(path)
        assert row['name'] == expected.name
        assert int(row['label']) == expected.label
        assert float(row['score']) == pytest.approx(expected.score)
    assert files(tmp_path / 'new' / 'pictures') == {
        *('a.png', 'a_2.png', 'a.jpg'),
    }


def test_a_checkpoint_of_safetensors(predict, images, work_dirs, tmp_path):
    source = work_dirs[CLASSIFIER] / 'epoch_3.pth'
    cli.main(['publish', str(source), str(tmp_path / 'mine.safetensors')])
    (path,) = tmp_path.glob('mine-*')
    for out, options in ((1, ()), (2, ('--checkpoint', path))):
        status, _, _ = predict(CLASSIFIER, images, '--out', out, *options)
        assert status == 0
    tables = [tmp_path / out / 'predictions.csv' for out in '12']
    assert tables[0].read_text() == tables[1].read_text()


def test_unreadable_files_are_named(predict, images, tmp_path):
    folder = tmp_path / 'mixed'
    shutil.copytree(images, folder)
    (folder / 'aa.png').write_text('no image')
    status, out, err = predict(DETECTOR, folder, '--out', 'new')
    assert status == 1
    assert f'skipped: {folder / "aa.png"}' in err
    assert '3 images' in out
    assert '1 skipped' in out
    names = [
        one['file_name']
        for one in read(tmp_path / 'new/images.json')['images']
    ]
    assert names == ['a.png', 'b.jpg', 'more/a.jpg']


def test_what_was_predicted_before_an_interruption(
    predict, images, monkeypatch, tmp_path
):
    draw = Detections.draw

    def interrupt_second(result):
        if result.path.name == 'b.jpg':
            raise KeyboardInterrupt
        return draw(result)

    monkeypatch.setattr(Detections, 'draw', interrupt_second)
    status, _, err = predict(DETECTOR, images, '--out', 'new')
    assert status == 'predict: interrupted'
    coco = COCO(str(tmp_path / 'new' / 'images.json'))
    assert [one['file_name'] for one in coco.dataset['images']] == ['a.png']
    loaded = coco.loadRes(str(tmp_path / 'new' / 'predictions.json'))
    assert {one['image_id'] for one in loaded.dataset['annotations']} == {1}


def test_paths_that_do_not_exist_are_named(predict, images, monkeypatch):
    lines = f'{images / "a.png"}\nabsent.png\n'
    monkeypatch.setattr('sys.stdin', io.StringIO(lines))
    status, out, err = predict(DETECTOR, '-', '--out', 'new')
    assert status == 1
    assert 'absent.png does not exist' in err
    assert '1 images' in out


@pytest.mark.parametrize(
    ('source', 'words'),
    [
        ('absent.jpg', 'absent.jpg does not exist'),
        ('empty', 'empty has no images'),
        ('-', 'stdin has no paths'),
        ('broken.mp4', 'broken.mp4 cannot be opened'),
    ],
)
def test_nothing_to_predict(predict, tmp_path, monkeypatch, source, words):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty' / 'notes.txt').write_text('')
    (tmp_path / 'broken.mp4').write_text('no video')
    monkeypatch.setattr('sys.stdin', io.StringIO('\n'))
    status, _, err = predict(DETECTOR, source, '--out', 'new')
    assert status == 1
    assert words in err
    assert not (tmp_path / 'new').exists()


def test_nothing_is_overwritten(predict, images, tmp_path):
    (tmp_path / 'old').mkdir()
    assert predict(DETECTOR, images / 'a.png', '--out', 'old')[0] == 0
    before = files(tmp_path / 'old')
    status, _, err = predict(DETECTOR, images / 'b.jpg', '--out', 'old')
    assert status == 1
    assert 'old exists' in err
    assert '--out' in err
    assert files(tmp_path / 'old') == before


def test_the_folder_is_in_the_run(predict, images, work_dirs, tmp_path):
    run = tmp_path / 'run'
    shutil.copytree(work_dirs[CLASSIFIER], run)
    assert predict(run, images / 'a.png')[0] == 0
    (stamped,) = (run / 'predictions').iterdir()
    assert (stamped / 'predictions.csv').is_file()
    # Of a config, where it would train.
    checkpoint = run / 'epoch_3.pth'
    args = (images / 'a.png', '--checkpoint', checkpoint)
    assert predict(CLASSIFIER + '.py', *args)[0] == 1  # there is no such file
    shutil.copy(run / f'{CLASSIFIER}.py', tmp_path / 'mine.py')
    assert predict('mine.py', *args)[0] == 0
    (stamped,) = (tmp_path / 'work_dirs/mine/predictions').iterdir()
    assert (stamped / 'predictions.csv').is_file()


@pytest.mark.parametrize(
    'options', [('--score', '2'), ('--batch-size', '0'), ()]
)
def test_wrong_options(work_dirs, options, capsys):
    source = ['x.jpg'] if options else []
    with pytest.raises(SystemExit) as caught:
        cli.main(['predict', str(work_dirs[DETECTOR]), *source, *options])
    assert caught.value.code == 2
    assert (options or ('IMAGE',))[0] in capsys.readouterr().err


@pytest.fixture
def clip(tmp_path):
    """A video of 5 frames."""
    path = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter.fourcc(*'MJPG'), 10, (121, 91)
    )
    if not writer.isOpened():
        pytest.skip('this OpenCV writes no videos')
    for i in range(5):
        frame = data.astronaut()[10 * i : 10 * i + 91, 180:301]
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


def frames_of(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames, capture.get(cv2.CAP_PROP_FPS)


@pytest.mark.parametrize('name', [DETECTOR, CLASSIFIER])
def test_a_video(predict, models, clip, tmp_path, name):
    source, _ = frames_of(clip)
    assert len(source) == 5
    status, out, err = predict(
        *(name, clip, '--batch-size', 2), '--out', 'new'
    )
    assert status == 0
    assert '5/5' in err
    assert '5 images' in out
    written, rate = frames_of(tmp_path / 'new' / 'clip.mp4')
    assert (len(written), rate) == (5, 10)
    images = read(tmp_path / 'new' / 'images.json')['images']
    assert [image['file_name'] for image in images] == [
        f'clip.avi/{i:06d}' for i in range(1, 6)
    ]
    height, width = source[0].shape[:2]
    assert (images[0]['width'], images[0]['height']) == (width, height)
    expected = models[name].predict(source[4][..., ::-1], score=0.2)
    if name == DETECTOR:
        found = read(tmp_path / 'new' / 'predictions.json')
        scores = [one['score'] for one in found if one['image_id'] == 5]
        assert scores == pytest.approx(expected.scores.tolist(), abs=1e-4)
    # What was written is what would be drawn, but for compression.
    picture = expected.draw()[..., ::-1].astype(float)
    last = written[-1][: len(picture), : len(picture[0])]
    assert np.abs(last - picture).mean() < 12


def test_a_video_without_an_encoder(predict, clip, tmp_path, monkeypatch):
    """Pictures instead."""
    monkeypatch.setattr('ivit.inference.video.CODEC', 'none')
    assert predict(SEGMENTORS[0], clip, '--out', 'new')[0] == 0
    expected = {f'pictures/clip.avi/{i:06d}.jpg' for i in range(1, 6)}
    expected |= {f'labels/clip.avi/{i:06d}.png' for i in range(1, 6)}
    assert files(tmp_path / 'new') == {'images.json', *expected}


def test_a_video_that_is_cut_off(predict, clip, tmp_path):
    content = clip.read_bytes()
    clip.write_bytes(content[: len(content) // 2])
    number = len(frames_of(clip)[0])
    assert 0 < number < 5
    status, out, err = predict(CLASSIFIER, clip, '--out', 'new')
    assert status == 1
    assert f'{number} frames could be read of 5' in err
    assert f'{number} images, {5 - number} skipped' in out
    assert len(read(tmp_path / 'new' / 'images.json')['images']) == number


def test_several_images(predict, images, tmp_path):
    """As a shell writes them for ``*.jpg``."""
    paths = images / 'a.png', images / 'b.jpg'
    status, out, _ = predict(DETECTOR, *paths, '--out', 'new')
    assert status == 0
    assert 'new: 2 images' in out
    entries = read(tmp_path / 'new' / 'images.json')['images']
    assert [one['file_name'] for one in entries] == list(map(str, paths))


@pytest.mark.parametrize('other', ['-', '.', 'clip.mp4', 'lost.jpg'])
def test_several_of_which_one_is_no_image(predict, images, other, tmp_path):
    status, _, err = predict(DETECTOR, images / 'a.png', other, '--out', 'new')
    assert status == 1
    words = 'does not exist' if other == 'lost.jpg' else 'is not an image'
    assert f'{other} {words}' in err
    assert not (tmp_path / 'new').exists()


def test_an_option_given_twice(predict, images, tmp_path):
    status, _, err = predict(
        DETECTOR, images / 'a.png', '--out', 'one', '--out', 'two'
    )
    assert status == 2
    assert '--out is given twice' in err
    assert not (tmp_path / 'one').exists()
