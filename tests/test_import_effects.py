# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The list in ivit's docstring of what importing it changes elsewhere."""

import subprocess
import sys

import pytest
import torch
from mmengine.registry import Registry, root
from mmengine.runner.checkpoint import CheckpointLoader

import ivit

EXPORT = 'ivit.export.'


def is_ours(thing):
    return type(thing).__module__.startswith('ivit.') or (
        getattr(thing, '__module__', '').startswith('ivit.')
    )


def test_registered_names():
    names = {}
    for variable, registry in vars(root).items():
        if isinstance(registry, Registry):
            classes = registry.module_dict.items()
            # The export's own class is registered by an import of its room.
            if found := {
                name
                for name, cls in classes
                if is_ours(cls) and not cls.__module__.startswith(EXPORT)
            }:
                names[variable] = found
    assert names == {
        'MODELS': set(ivit.backbones.__all__),
        'DATASETS': {
            'ShapesDetDataset',
            'ShapesSegDataset',
            'ShapesClsDataset',
            'FractalDataset',
            'OneFractalDataset',
            'FractalScenesDetDataset',
            'FractalScenesSegDataset',
        },
        'TRANSFORMS': {'DrawFractal'},
        'HOOKS': {'CompileBackboneHook', 'ReportHook'},
        'OPTIM_WRAPPERS': {'BFloat16CPUOptimWrapper'},
        'OPTIM_WRAPPER_CONSTRUCTORS': {
            'LayerDecayOptimWrapperConstructor',
            'NoDecayOptimWrapperConstructor',
        },
    }


def test_finders():
    (finder,) = (finder for finder in sys.meta_path if is_ours(finder))
    assert finder.find_spec('mmcv._ext') is not None
    assert finder.find_spec('mmcv.ops') is None


def test_loaders():
    schemes = CheckpointLoader._schemes.items()
    prefixes = {prefix for prefix, loader in schemes if is_ours(loader)}
    assert prefixes == {'', 'http://', 'https://'}


@pytest.mark.slow
def test_operators():
    """In a process of its own: another test may have loaded the kernels."""
    code = (
        'import torch, ivit\n'
        'names = torch._C._dispatch_get_all_op_names()\n'
        "print(*sorted(n for n in names if n.startswith('ivit::')))"
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        check=True,
    )
    expected = 'ivit::focused_attention ivit::focused_attention_backward'
    ours = done.stdout.splitlines()[-1]
    assert ours == (expected if torch.cuda.is_available() else '')
