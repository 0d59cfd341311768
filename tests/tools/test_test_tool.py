# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import json
import pickle

import pytest
import torch


@pytest.fixture
def trained(tool, config, tmp_path):
    tool('train', config, '--work-dir', 'trained')
    return tmp_path / 'trained/epoch_2.pth'


def fails(tool, capsys, *args):
    with pytest.raises(SystemExit):
        tool('test', *args)
    return capsys.readouterr().err


def test_metrics_and_predictions(tool, config, trained, tmp_path):
    tool('test', config, trained, '--out', 'out.pkl', '--work-dir', 'tested')
    predictions = pickle.loads((tmp_path / 'out.pkl').read_bytes())
    (log,) = (tmp_path / 'tested').glob('*/*.json')
    accuracy = json.loads(log.read_text())['accuracy']
    hits = [prediction['hit'] for prediction in predictions]
    assert len(hits) == 8
    assert accuracy == pytest.approx(sum(hits) / 8)


def test_a_published_file_of_safetensors(tool, config, trained, tmp_path):
    tool('publish_checkpoint', trained, 'mine.safetensors')
    (path,) = tmp_path.glob('mine-*.safetensors')
    accuracies = []
    for checkpoint in (trained, path):
        folder = f'tested_{checkpoint.suffix}'
        tool('test', config, checkpoint, '--work-dir', folder)
        (log,) = (tmp_path / folder).glob('*/*.json')
        accuracies.append(json.loads(log.read_text())['accuracy'])
    assert accuracies[0] == accuracies[1]
    # A training begins with it.
    options = (
        '--cfg-options',
        f'load_from={path}',
        'optim_wrapper.optimizer.lr=0',
    )
    tool('train', config, *options, '--work-dir', 'further')
    state = torch.load(tmp_path / 'further/epoch_2.pth', weights_only=False)
    before = torch.load(trained, weights_only=False)['state_dict']
    for name, value in state['state_dict'].items():
        assert torch.equal(value, before[name]), name


def test_checkpoint_of_another_model(tool, config, trained, capsys):
    options = ('--cfg-options', 'model.channels=5')
    message = fails(tool, capsys, config, trained, *options)
    assert 'error: the checkpoint does not fit the model' in message
    assert 'backbone.conv.weight' in message
    assert '[4, 3, 3, 3]' in message


def test_head_must_fit_in_a_test_but_not_in_fine_tuning(
    tool, config, trained, capsys
):
    options = ('--cfg-options', 'model.num_classes=7')
    message = fails(tool, capsys, config, trained, *options)
    assert 'head.weight' in message
    assert 'backbone.conv' not in message
    tool('train', config, *options, f'load_from={trained}')


def test_missing_and_left_over_weights(tool, config, trained, capsys):
    checkpoint = torch.load(trained, weights_only=False)
    weights = checkpoint['state_dict']
    weights['backbone.more.weight'] = weights.pop('backbone.conv.bias')
    weights['other.weight'] = torch.ones(1)  # not the backbone's: no matter
    torch.save(checkpoint, trained)
    message = fails(tool, capsys, config, trained)
    assert 'backbone.conv.bias is missing' in message
    assert 'backbone.more.weight is left over' in message
    assert 'other.weight' not in message


def test_usage_errors(tool, config, trained, tmp_path, capsys):
    message = fails(tool, capsys, config, 'no.pth')
    assert f'checkpoint not found: {tmp_path}/no.pth' in message
    message = fails(tool, capsys, config, trained, '--out', 'out.txt')
    assert '--out out.txt' in message
    message = fails(tool, capsys, config, trained, '--tta')
    assert 'tta_model and tta_pipeline' in message
    message = fails(tool, capsys, config, trained, '--show-dir', 'shown')
    assert 'visualization hook' in message
