# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The command ``ivit`` and its dispatch."""

import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from ivit import cli

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
SCRIPTS = dict(
    data='data',
    train='train',
    test='test',
    predict='predict',
    export='export',
    flops='get_flops',
    benchmark='benchmark',
    publish='publish_checkpoint',
    convert='convert_checkpoint',
    study='study',
    demo='demo',
)


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(['--help'])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    for name, line in cli.COMMANDS.items():
        assert f'  {name} ' in said
        assert line in said
    assert set(cli.COMMANDS) == {*SCRIPTS, 'check-env'}


@pytest.mark.parametrize(
    ('command', 'answer'),
    [
        ('trian', "no command 'trian'; did you mean 'train'?"),
        ('check_env', "did you mean 'check-env'?"),
        ('qqq', 'the commands are data, train, test, '),
    ],
)
def test_unknown_command(capsys, command, answer):
    with pytest.raises(SystemExit) as caught:
        cli.main([command, '--help'])
    assert caught.value.code == 2
    assert answer in capsys.readouterr().err


@pytest.mark.parametrize('command', cli.COMMANDS)
def test_every_command_has_its_help(capsys, command):
    with pytest.raises(SystemExit) as caught:
        cli.main([command, '--help'])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f'usage: ivit {command} ')


@pytest.mark.parametrize('command', SCRIPTS)
def test_scripts_are_the_commands(command, monkeypatch):
    monkeypatch.setattr(sys, 'path', sys.path[:])
    names = runpy.run_path(str(TOOLS / f'{SCRIPTS[command]}.py'))
    assert names['main'] is import_module(f'ivit.cli.{command}').main


@pytest.mark.slow
def test_a_command_is_imported_when_it_is_called():
    code = (
        'import sys, ivit.cli\n'
        "assert not [m for m in sys.modules if m.startswith('ivit.cli.')]"
    )
    subprocess.run([sys.executable, '-c', code], check=True)
