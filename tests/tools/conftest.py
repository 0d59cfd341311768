# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Run the command line tools, in this process or in another one."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
custom_imports = dict(imports=['toy_task'], allow_failed_imports=False)
default_scope = 'mmengine'
model = dict(type='ToyNet')
loader = dict(
    batch_size=4, num_workers=0, dataset=dict(type='ToyData'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='pseudo_collate'))
train_dataloader = val_dataloader = test_dataloader = loader
train_cfg = dict(by_epoch=True, max_epochs=2)
val_cfg = test_cfg = dict()
val_evaluator = test_evaluator = dict(type='ToyAccuracy')
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
param_scheduler = [dict(type='MultiStepLR', milestones=[1], gamma=0.5)]
auto_scale_lr = dict(base_batch_size=16)
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1))
randomness = dict(seed=0)
log_level = 'WARNING'
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'toy.py'
    path.write_text(CONFIG)
    return path


@pytest.fixture
def tool(monkeypatch, tmp_path, forget_globals):
    """Run a tool's ``main`` in this process, from a folder of its own."""

    def run(name, *args):
        spec = importlib.util.spec_from_file_location(
            f'tool_{name}', ROOT / 'tools' / f'{name}.py'
        )
        module = importlib.util.module_from_spec(spec)
        with monkeypatch.context() as patch:
            patch.setattr(sys, 'argv', [name, *map(str, args)])
            patch.setattr(sys, 'path', sys.path[:])
            patch.delenv('LOCAL_RANK', raising=False)
            patch.chdir(tmp_path)
            spec.loader.exec_module(module)
            try:
                module.main()
            finally:
                os.environ.pop('LOCAL_RANK', None)
                forget_globals()

    return run


@pytest.fixture
def shell(tmp_path):
    """Run a script of ``tools`` with this interpreter first on PATH."""

    def run(script, *args, **env):
        return subprocess.run(
            [str(ROOT / 'tools' / script), *map(str, args)],
            cwd=tmp_path,
            env={
                **os.environ,
                'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
                'PYTHONPATH': str(Path(__file__).parent),
                'OMP_NUM_THREADS': '1',
                **env,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    return run
