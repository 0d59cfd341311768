# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Grids of trainings, on a training of no time."""

import json
import os
import sys

import pytest

from ivit.studies.runs import Run, RunFailed, execute

# What tools/train.py leaves behind: the log's folder, a checkpoint's mark.
# The first attempt dies after epoch `die`, the next goes on from there.
TRAIN = """
import json, os, pathlib, sys, time
config, _, work_dir, resume = sys.argv[1:]
assert (_, resume) == ('--work-dir', '--resume')
cfg = {}
exec(open(config).read(), cfg)
work_dir = pathlib.Path(work_dir)
with open(work_dir.parent / 'order.txt', 'a') as file:
    file.write(f'{work_dir.name} {os.environ["OMP_NUM_THREADS"]}\\n')
last = work_dir / 'last_checkpoint'
done = int(last.read_text()) if last.exists() else 0
attempt = len(list(work_dir.glob('2*')))
start = time.localtime(time.time() + attempt)
folder = work_dir / time.strftime('%Y%m%d_%H%M%S', start) / 'vis_data'
folder.mkdir(parents=True)
with open(folder / 'scalars.json', 'w') as file:
    for epoch in range(done + 1, cfg['train_cfg']['max_epochs'] + 1):
        print(f'epoch {epoch}')
        file.write(json.dumps(dict(loss=1.0, lr=0.1, step=epoch)) + '\\n')
        last.write_text(str(epoch))
        if (epoch, attempt) == (cfg['die'], 0):
            file.flush()
            sys.exit('out of memory')
        score = cfg['score'] + epoch
        file.write(json.dumps(dict(score=score, step=epoch)) + '\\n')
"""
CONFIG = """
train_cfg = dict(max_epochs=3)
score = 10.0
die = None
sizes = (4, 8)
"""


@pytest.fixture
def study(tmp_path):
    """Do runs of the config above; gives their results and their order."""
    (tmp_path / 'train.py').write_text(TRAIN)
    (tmp_path / 'some.py').write_text(CONFIG)
    folder = tmp_path / 'study'
    folder.mkdir()

    def study(*runs, jobs=1):
        order = folder / 'order.txt'
        order.write_text('')
        results = execute(
            [
                Run(config=str(tmp_path / 'some.py'), metric='score', **run)
                for run in runs
            ],
            folder,
            jobs,
            (sys.executable, str(tmp_path / 'train.py')),
        )
        return results, [line.split()[0] for line in order.open()]

    study.folder = folder
    return study


def test_runs_once(study, capsys):
    first, order = study(
        dict(name='a'), dict(name='b', options={'score': 20.0})
    )
    assert order == ['a', 'b']
    assert first['a']['metrics'] == {'score': 13.0}
    assert first['b']['metrics'] == {'score': 23.0}
    assert first['b']['options'] == {'score': 20.0}
    assert 0 <= first['a']['seconds'] <= 5
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('[1/2] a: score 13, ')
    assert '; 1 left, some ' in lines[0]
    again, order = study(
        dict(name='a'), dict(name='b', options={'score': 20.0})
    )
    assert again == first
    assert order == []


def test_result_file_is_whole(study):
    results, _ = study(dict(name='a'))
    stored = json.loads((study.folder / 'a' / 'result.json').read_text())
    assert stored == results['a']
    assert not list(study.folder.glob('*/*.new'))


def test_goes_on_after_an_interruption(study):
    run = dict(name='a', options={'die': 2})
    with pytest.raises(RunFailed):
        study(run)
    assert not (study.folder / 'a' / 'result.json').exists()
    results, order = study(run)
    assert order == ['a']
    assert results['a']['metrics'] == {'score': 13.0}
    log = (study.folder / 'a' / 'log.txt').read_text().splitlines()
    assert [line for line in log if 'epoch' in line] == [
        'epoch 1',
        'epoch 2',
        'epoch 3',
    ]


def test_interrupted_in_the_last_validation(study):
    run = dict(name='a', options={'die': 3})
    with pytest.raises(RunFailed):
        study(run)
    # Nothing is left to train, so the whole run is done again.
    results, order = study(run)
    assert order == ['a', 'a']
    assert results['a']['metrics'] == {'score': 13.0}
    log = (study.folder / 'a' / 'log.txt').read_text()
    assert log.count('epoch 1') == 2


def test_other_settings_are_refused(study):
    study(dict(name='a'))
    before = (study.folder / 'a' / 'result.json').read_text()
    with pytest.raises(ValueError) as raised:
        study(dict(name='a', options={'score': 5.0, 'train_cfg.new': [1, 2]}))
    assert 'score 10.0 instead of 5.0' in str(raised.value)
    assert 'train_cfg.new.1 absent instead of 2' in str(raised.value)
    assert 'sizes' not in str(raised.value)
    assert (study.folder / 'a' / 'result.json').read_text() == before


def test_failure_shows_the_log(study):
    with pytest.raises(RunFailed) as raised:
        study(dict(name='a', options={'die': 1}), dict(name='b'))
    text = str(raised.value)
    assert 'epoch 1\nout of memory' in text
    assert str(study.folder / 'a' / 'log.txt') in text
    assert 'exit status 1' in text
    assert not (study.folder / 'b').exists()


def test_failure_stops_the_others(study):
    (study.folder.parent / 'train.py').write_text(
        'import os, pathlib, sys, time\n'
        'work_dir = pathlib.Path(sys.argv[3])\n'
        'pid = work_dir.parent / "pid"\n'
        'if work_dir.name == "slow":\n'
        '    pid.with_suffix(".new").write_text(str(os.getpid()))\n'
        '    pid.with_suffix(".new").rename(pid)\n'
        '    time.sleep(60)\n'
        'while not pid.exists():\n'
        '    time.sleep(0.05)\n'
        'sys.exit("broken")'
    )
    with pytest.raises(RunFailed, match='broken'):
        study(dict(name='slow'), dict(name='a'), jobs=2)
    with pytest.raises(ProcessLookupError):
        os.kill(int((study.folder / 'pid').read_text()), 0)


def test_needs_come_first(study):
    def late():
        result = study.folder / 'a' / 'result.json'
        return {'score': json.loads(result.read_text())['metrics']['score']}

    results, order = study(
        dict(name='a'),
        dict(name='b', needs=('a',), late_options=late),
        dict(name='c'),
        jobs=2,
    )
    assert sorted(order[:2]) == ['a', 'c']
    assert order[2] == 'b'
    assert results['b']['metrics'] == {'score': 16.0}
    assert results['b']['options'] == {'score': 13.0}


def test_cores_are_shared(study, monkeypatch):
    monkeypatch.setattr('os.cpu_count', lambda: 8)
    study(dict(name='a'), jobs=3)
    assert (study.folder / 'order.txt').read_text() == 'a 2\n'


def test_wrong_lists(study):
    with pytest.raises(
        ValueError, match="two runs have the name 'a'; give every seed"
    ):
        study(dict(name='a'), dict(name='a'))
    with pytest.raises(ValueError, match="b needs 'a'"):
        study(dict(name='b', needs=('a',)), dict(name='a'))
    with pytest.raises(ValueError, match='jobs=0'):
        study(dict(name='a'), jobs=0)
