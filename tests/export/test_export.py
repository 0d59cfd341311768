# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Models become files that are the same models."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import ivit
from ivit.cli import main
from ivit.datasets.shape_scenes import draw_scene
from ivit.engine import UsageError, find_config, load_config
from ivit.export import export, make
from ivit.export.graph import build_graph
from ivit.export.session import Session
from ivit.export.smaller import compare_metrics, make_smaller, write_half
from ivit.inference.load import read_model

RUNNER = Path(__file__).parents[2] / 'examples' / 'predict_onnx.py'
# Of random weights, scores are near 1 / (classes + 1).
MANY = {
    'model.test_cfg.rcnn.score_thr': 0.1,
    'model.test_cfg.rcnn.nms.iou_threshold': 0.3,
}
DETECTOR = 'mask_rcnn_ivit_n_shapes'
FEW = {
    'test_dataloader.dataset.num_train': 2,
    'test_dataloader.dataset.num_val': 9,
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def without_torch(*arguments):
    """Run the runner where torch and OpenMMLab cannot be imported."""
    code = (
        'import runpy, sys\n'
        'for name in ("torch", "mmcv", "mmengine", "mmdet", "ivit", "cv2"):\n'
        '    sys.modules[name] = None\n'
        f'sys.argv = {["predict_onnx.py", *map(str, arguments)]!r}\n'
        f'runpy.run_path({str(RUNNER)!r}, run_name="__main__")\n'
    )
    return subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True
    )


@pytest.fixture(scope='module')
def detector(tmp_path_factory):
    """A run of Mask R-CNN on scenes of shapes, trained for a few steps."""
    folder = tmp_path_factory.mktemp('detector')
    options = {
        f'{phase}_dataloader.{key}': value
        for phase in ('train', 'val', 'test')
        for key, value in {
            'num_workers': 0,
            'dataset.data_root': str(folder / 'shapes'),
            'dataset.num_train': 64,
            'dataset.num_val': 12,
        }.items()
    }
    for name in ('val_evaluator', 'test_evaluator'):
        options[f'{name}.ann_file'] = str(
            folder / 'shapes/annotations/instances_val.json'
        )
    return ivit.train(
        DETECTOR,
        work_dir=folder / 'run',
        pretrained='ivit_n_fractals',
        cfg_options={
            **options,
            'train_cfg.max_epochs': 6,
            'param_scheduler.1.end': 6,
            'param_scheduler.1.T_max': 6,
            'default_hooks.checkpoint.interval': 6,
            'train_cfg.val_interval': 6,
        },
    )


@pytest.fixture(scope='module')
def detector_file(detector, tmp_path_factory):
    path = tmp_path_factory.mktemp('file') / 'detector.onnx'
    return export(detector, path, cfg_options=MANY)


@pytest.mark.slow
def test_a_detector_is_proven_on_its_own_data(detector, detector_file):
    assert detector_file.outputs == ('boxes', 'scores', 'labels', 'masks')
    assert detector_file.weights.endswith('epoch_6.pth')
    assert detector_file.pictures == "pictures of the config's test data"
    differences = detector_file.differences
    assert differences.images == 8
    assert differences.compared > 20
    assert differences.largest['score'] < 1e-3
    assert differences.largest['pixels'] < 0.1
    folder = detector_file.path.parent
    assert [path.name for path in folder.iterdir()] == ['detector.onnx']


@pytest.mark.slow
def test_a_file_has_operators_of_onnx_alone(detector_file):
    model = onnx.load(detector_file.path)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [
        ('', 20)
    ]
    assert not model.functions
    kinds = [node.op_type for node in model.graph.node]
    # Batch norms are in the convolutions before them.
    assert 'BatchNormalization' not in kinds
    assert 'Identity' not in kinds
    shape = model.graph.input[0].type.tensor_type.shape.dim
    names = [dim.dim_param or dim.dim_value for dim in shape]
    assert names == ['batch', 3, 'height', 'width']
    info = json.loads(model.metadata_props[0].value)
    assert info['task'] == 'detection'
    assert info['classes'][:2] == ['circle', 'cross']
    assert info['resize'][0]['step'] == 'fit'
    assert len(info['palette']) == 6


@pytest.mark.slow
def test_the_evaluator_gives_a_file_the_same_ap(
    detector, detector_file, capsys, forget_globals
):
    values = []
    for model in (detector.work_dir / 'epoch_6.pth', detector_file.path):
        options = [f'{key}={value}' for key, value in MANY.items()]
        main(
            ['test', str(detector.config), str(model), '--work-dir']
            + [str(detector_file.path.parent / 'test'), '--cfg-options']
            + options
        )
        path = sorted(
            (detector_file.path.parent / 'test').glob('*/*.json'),
            key=lambda path: path.stat().st_mtime,
        )[-1]
        values.append(json.loads(path.read_text()))
    one, other = values
    assert one['coco/bbox_mAP_50'] > 0.01
    for name in one:
        if name.startswith('coco/'):
            assert abs(one[name] - other[name]) <= 0.001, name


@pytest.mark.slow
def test_the_runner_without_torch_finds_what_pytorch_finds(
    detector, detector_file, folder
):
    scene = draw_scene(5, 'val', 0, 200).image[:, :150]
    Image.fromarray(scene).save('scene.png')
    model = ivit.load(detector)
    rcnn = model.module.test_cfg.rcnn
    rcnn.score_thr = MANY['model.test_cfg.rcnn.score_thr']
    rcnn.nms.iou_threshold = MANY['model.test_cfg.rcnn.nms.iou_threshold']
    expected = model.predict('scene.png', score=0.1)
    done = without_torch(detector_file.path, 'scene.png', '--score', 0.1)
    assert done.returncode == 0, done.stderr
    assert Image.open('predicted.png').size == (150, 200)
    found = [line.split() for line in done.stdout.splitlines()]
    other = [(name, *map(float, numbers)) for name, *numbers in found]
    columns = (expected.names, expected.scores, *expected.boxes.T)
    one = list(zip(*columns, strict=True))
    assert sum(score > 0.2 for _, score, *_ in other) > 0
    # OpenCV rounds an image in other places, and near a threshold a score or
    # an overlap decides otherwise then: those in the middle have a partner.
    for these, those in [(one, other), (other, one)]:
        for name, score, *box in these:
            if score < 0.2:
                continue
            near = [
                (np.abs(np.subtract(box, spot)).max(), abs(score - value))
                for label, value, *spot in those
                if label == name
            ]
            distance, change = min(near)
            assert distance < 1
            assert change < 0.02


@pytest.mark.slow
@pytest.mark.parametrize(
    ('config', 'outputs'),
    [
        ('ivit_n_shapes', ['scores']),
        ('fcn_vit_n_shapes', ['labels', 'logits']),
        *(
            pytest.param(name, ['labels'], marks=pytest.mark.exhaustive)
            for name in (
                'sem_fpn_ivit_n_shapes',
                'upernet_flatten_swin_n_shapes',
                'upernet_ivit_n_shapes',
            )
        ),
    ],
)
def test_other_tasks_from_the_command_to_the_runner(
    config, outputs, folder, capsys
):
    torch.manual_seed(0)
    logits = ['--logits'] if 'logits' in outputs else []
    main(
        ['export', config, '--out', 'model.onnx', *logits, '--cfg-options']
        + [f'{key}={value}' for key, value in FEW.items()]
    )
    out = capsys.readouterr().out
    assert f'outputs {", ".join(outputs)}, weights: random' in out
    assert 'largest differences: ' in out
    assert [path.name for path in folder.glob('model*')] == ['model.onnx']
    Image.fromarray(draw_scene(5, 'val', 0, 100).image).save('scene.png')
    done = without_torch('model.onnx', 'scene.png')
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 1


def test_a_head_that_returns_something_else_is_an_error(monkeypatch):
    model = read_model(find_config('fcn_vit_n_shapes'), None)
    head = model.module.decode_head
    monkeypatch.setattr(type(head), 'forward', lambda self, maps: (maps, 1))
    words = 'decode_head FCNHead is not exported.*--part backbone'
    with pytest.raises(UsageError, match=words):
        build_graph(model.module, model.config)


@pytest.mark.slow
def test_a_segmentor_of_a_single_class(folder):
    """mmseg gives its probabilities, and a threshold decides."""
    options = FEW | {
        'model.decode_head.num_classes': 1,
        'model.decode_head.out_channels': 1,
        'model.decode_head.threshold': 0.6,
        'model.decode_head.loss_decode.use_sigmoid': True,
    }
    done = export(
        'fcn_vit_n_shapes', 'one.onnx', cfg_options=options, logits=True
    )
    assert done.differences.largest['score'] < 1e-5
    session = Session('one.onnx')
    assert session.info['threshold'] == 0.6
    out = session.run(np.zeros((1, 3, 64, 64), np.uint8))
    probabilities = 1 / (1 + np.exp(-out['logits'][:, 0]))
    assert (out['labels'] == (probabilities > 0.6)).all()


@pytest.mark.slow
def test_backbone_and_neck_of_a_fixed_size(folder):
    done = export(
        DETECTOR,
        'maps.onnx',
        part='backbone',
        shape=(64, 96),
        batch=2,
        cfg_options=FEW,
    )
    assert done.outputs == ('map_0', 'map_1', 'map_2', 'map_3')
    session = Session('maps.onnx')
    maps = session.run(np.zeros((2, 3, 64, 96), np.uint8))
    assert maps['map_0'].shape == (2, 48, 16, 24)
    with pytest.raises(UsageError, match='height 64, and these have 32'):
        session.run(np.zeros((2, 3, 32, 96), np.uint8))
    done = without_torch('maps.onnx', RUNNER)
    assert done.returncode == 1
    assert 'cannot be read as an image' in done.stderr


@pytest.mark.slow
def test_a_file_that_differs_is_not_left(detector_file, folder, monkeypatch):
    """The file of one training is not that of another's weights."""

    def write(graph, path, *arguments):
        shutil.copy(detector_file.path, path)

    monkeypatch.setattr(make, 'write_onnx', write)
    with pytest.raises(
        UsageError,
        match='objects or pixels differ|pixels differs|score differs',
    ):
        export(DETECTOR, 'model.onnx', cfg_options=FEW | MANY)
    assert not [path for path in folder.iterdir() if path.name != 'data']


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (dict(out='model.pt'), 'must end with .onnx'),
        (dict(out='here.onnx'), 'exists and is not overwritten'),
        (dict(shape=(16, 64)), '--shape 16 64: sides are 32'),
        (dict(batch=0), '--batch 0 must be at least 1'),
        (dict(part='head'), "part='head'"),
        (dict(logits=True), '--logits is for segmentors'),
        (dict(run='epoch_1.pth'), 'is a checkpoint; give the folder'),
        (dict(out='here.onnx/model.onnx'), 'nothing can be written there'),
        (dict(numbers='int4'), "numbers='int4'"),
        (dict(run='no_such_config'), 'no_such_config'),
        (dict(checkpoint='no.pth'), 'no.pth'),
        (
            dict(
                run='upernet_ivit_n_shapes',
                cfg_options={'model.test_cfg.mode': 'slide'},
            ),
            "model.test_cfg.mode='slide'",
        ),
        (
            dict(
                run='retinanet_ivit_n_shapes',
                cfg_options={'model.bbox_head.type': 'FSAFHead'},
            ),
            'FSAFHead.*--part backbone',
        ),
    ],
)
def test_what_cannot_be_exported_is_an_error(arguments, words, folder):
    Path('here.onnx').write_text('mine')
    given = dict(run='ivit_n_shapes', out='model.onnx') | arguments
    with pytest.raises(ValueError, match=words):
        export(given.pop('run'), given.pop('out'), **given)
    assert Path('here.onnx').read_text() == 'mine'
    assert not list(folder.glob('model*'))


@pytest.mark.parametrize(
    ('content', 'words'),
    [(None, 'no file'), (b'not onnx', 'can run'), ('foreign', 'ivit export')],
)
def test_a_file_of_others_is_an_error(content, words, folder):
    if content == 'foreign':
        value = onnx.helper.make_tensor_value_info('x', 1, [1])
        node = onnx.helper.make_node('Relu', ['x'], ['y'])
        out = onnx.helper.make_tensor_value_info('y', 1, [1])
        graph = onnx.helper.make_graph([node], 'g', [value], [out])
        opset = onnx.helper.make_opsetid('', 20)
        onnx.save(
            onnx.helper.make_model(
                graph, opset_imports=[opset], ir_version=10
            ),
            'other.onnx',
        )
    elif content:
        Path('other.onnx').write_bytes(content)
    with pytest.raises(UsageError, match=words):
        Session('other.onnx')
    assert without_torch('other.onnx', RUNNER).returncode == 1


@pytest.fixture(scope='module')
def detector_config(detector):
    return load_config(detector.config, MANY, detector.work_dir)


@pytest.mark.slow
def test_int8_says_what_it_costs(detector_file, detector_config, folder):
    """The metrics are compared, and both are timed."""
    small = Path('small.onnx')
    notes = make_smaller('int8', detector_file.path, small, detector_config)
    notes += f'; {compare_metrics(detector_file.path, small, detector_config)}'
    assert 'times as fast as float32' in notes
    assert "pictures of the config's train data" in notes
    before, after = map(
        float,
        re.search(r'coco/bbox_mAP_50 (\S+) -> (\S+?)[,;]', notes).groups(),
    )
    assert abs(before - after) < 0.05
    assert small.stat().st_size < detector_file.path.stat().st_size
    kinds = {node.op_type for node in onnx.load(small).graph.node}
    assert {'QuantizeLinear', 'DequantizeLinear'} <= kinds
    info = Session(small).info
    assert info == Session(detector_file.path).info


@pytest.mark.slow
def test_half_keeps_boxes_in_float32(detector_file, folder):
    write_half(detector_file.path, Path('half.onnx'))
    image = draw_scene(5, 'val', 0, 128).image.transpose(2, 0, 1)[None]
    one, other = (
        Session(path).run(np.ascontiguousarray(image))
        for path in (detector_file.path, 'half.onnx')
    )
    for name, value in other.items():
        assert value.dtype == one[name].dtype
    found = (one['labels'] >= 0).sum()
    assert abs(found - (other['labels'] >= 0).sum()) <= 2
    assert abs(one['scores'][0, 0] - other['scores'][0, 0]) < 0.02
    weights = {
        init.data_type for init in onnx.load('half.onnx').graph.initializer
    }
    assert onnx.TensorProto.FLOAT16 in weights
