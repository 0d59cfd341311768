# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import subprocess
import sys

import pytest

from ivit.mmcv_ops.__main__ import main

SCRIPT = """
import sys
import beside
from mmcv.ops import nms
if __name__ == '__main__':
    print(sys.argv[1:], sys.path[0], beside.VALUE, nms.__module__)
"""


@pytest.fixture
def script(tmp_path):
    folder = tmp_path / 'tools'
    folder.mkdir()
    (folder / 'beside.py').write_text('VALUE = 3')
    (folder / 'script.py').write_text(SCRIPT)
    return folder / 'script.py'


@pytest.mark.slow
def test_runs_a_script_as_main(script):
    done = subprocess.run(
        [sys.executable, '-m', 'ivit.mmcv_ops', 'tools/script.py', 'a', '--b'],
        cwd=script.parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    expected = f"['a', '--b'] {script.parent} 3 mmcv.ops.nms"
    assert done.stdout.splitlines()[-1] == expected


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ([], 'usage'),
        (['--help'], 'usage'),
        (['no/such.py'], "no script 'no/such.py'"),
    ],
)
def test_bad_command_line(monkeypatch, args, message):
    monkeypatch.setattr(sys, 'argv', ['ivit.mmcv_ops', *args])
    with pytest.raises(SystemExit, match=message):
        main()
