# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Say whether this environment can run ivit, and what to do if not.

Usage: ``python -m ivit.check_env``. The exit status is 0 when ivit is usable,
warnings or not, and 1 when it is not.
"""

import importlib
import importlib.metadata
import importlib.util
import platform
import re
import sys
from types import ModuleType
from typing import NamedTuple

from . import mmcv_ops
from .frameworks import FRAMEWORKS, pip_command

NEEDED = ('torch', 'torchvision', 'numpy', 'mmengine', 'mmcv')
OPENMMLAB = ('mmengine', 'mmcv', *FRAMEWORKS)
INSTALL = 'in the ivit repository, run: pip install -e ".[onedl]"'
COMPILE = (
    'pip install --no-build-isolation --no-cache-dir --force-reinstall '
    '--no-deps'
)


class Problem(NamedTuple):
    """What is wrong, what to do, and whether ivit cannot run with it."""

    text: str
    remedy: str
    fatal: bool = True


def main() -> int:
    """Print the versions and the problems found; return the exit status."""
    modules, problems = import_all()
    names = distributions()
    problems += check_lines(names) + check_versions(modules, names)
    print(f'{"Python":12}{platform.python_version()}')
    for name, module in modules.items():
        print(f'{name:12}{describe(module, names.get(name, []))}')
    if 'torch' in modules:
        cuda = modules['torch'].cuda.is_available()
        print(f'{"CUDA":12}{"available" if cuda else "not available"}')
        if 'mmcv' in modules:
            kind = 'stand-in' if mmcv_ops.is_stand_in() else 'compiled'
            print(f'{"mmcv ops":12}{kind}')
            for device in ('cpu', 'cuda')[: 1 + cuda]:
                found = check_ops(device, names.get('mmcv', []))
                result = 'failed' if found else 'nms, roi_align: right'
                print(f'{"  on " + device:12}{result}')
                problems += found
    if not any(problem.fatal for problem in problems):
        problems += check_package()
    for text, remedy, fatal in problems:
        print(f'\n{"ERROR" if fatal else "WARNING"}: {text}\n  {remedy}')
    fatal = any(problem.fatal for problem in problems)
    print(f'\nivit is {"not usable" if fatal else "usable"} here')
    return int(fatal)


def import_all() -> tuple[dict[str, ModuleType], list[Problem]]:
    """Import what ivit stands on, as far as it can be imported."""
    modules, problems = {}, []
    for name in (*NEEDED, *FRAMEWORKS):
        remedy = INSTALL
        try:
            modules[name] = importlib.import_module(name)
        except Exception as error:  # some assert versions, some lack libraries
            if isinstance(error, ModuleNotFoundError) and error.name == name:
                text = f'{name} is not installed'
                if name in FRAMEWORKS:
                    text += f', so there is no {FRAMEWORKS[name].task}'
                    remedy = pip_command(name)
            else:
                text = f'import {name} fails: {reason(error)}'
            problems.append(Problem(text, remedy, name in NEEDED))
    if not modules.keys() & FRAMEWORKS.keys():
        text = (
            'none of mmdet, mmseg and mmpretrain can be imported: the '
            'backbones run, but there is nothing to train them in'
        )
        problems.append(Problem(text, INSTALL, fatal=False))
    return modules, problems


def distributions() -> dict[str, list[str]]:
    """Installed distributions that bring each OpenMMLab package."""
    found = importlib.metadata.packages_distributions()
    return {
        name: sorted({d.replace('_', '-').lower() for d in found[name]})
        for name in OPENMMLAB
        if name in found
    }


def describe(module: ModuleType, names: list[str]) -> str:
    """Version of a package and the line that it comes from."""
    version = getattr(module, '__version__', 'of unknown version')
    lines = sorted({'OneDL' if onedl(n) else 'upstream' for n in names})
    return f'{version} ({" and ".join(lines)})' if lines else version


def check_lines(names: dict[str, list[str]]) -> list[Problem]:
    """Find distributions of the two lines side by side."""
    problems = []
    for package, both in names.items():
        if len(both) > 1:
            text = f'{" and ".join(both)} overwrite each other as {package}'
            remedy = f'pip uninstall -y {" ".join(both)}; then {INSTALL}'
            problems.append(Problem(text, remedy, fatal=False))
    flat = sorted({name for both in names.values() for name in both})
    if len({onedl(name) for name in flat}) > 1:
        text = f'packages of both lines are installed: {", ".join(flat)}'
        remedy = f'keep one line: uninstall the other; then {INSTALL}'
        problems.append(Problem(text, remedy, fatal=False))
    return problems


def check_versions(
    modules: dict[str, ModuleType], names: dict[str, list[str]]
) -> list[Problem]:
    """Find versions known not to work together."""
    problems = []
    versions = {
        name: release(module.__version__)
        for name, module in modules.items()
        if hasattr(module, '__version__')
    }
    torch = versions.get('torch', (2, 4))
    if torch < (2, 4):
        text = f'torch {modules["torch"].__version__} is older than 2.4'
        problems.append(Problem(text, 'pip install "torch>=2.4" torchvision'))
    numpy_2 = versions.get('numpy', (2,)) >= (2,)
    if 'onedl-mmsegmentation' in names.get('mmseg', []) and not numpy_2:
        text = 'onedl-mmsegmentation needs numpy 2'
        problems.append(Problem(text, 'pip install "numpy>2"', fatal=False))
    upstream = 'mmengine' in names.get('mmengine', [])
    if upstream and torch >= (2, 6):
        text = (
            'mmengine cannot load the checkpoints it writes with torch 2.6 '
            'or later (torch.load reads weights only)'
        )
        remedy = (
            'use onedl-mmengine or torch<2.6, or, for checkpoints that you '
            'trust, set TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1'
        )
        problems.append(Problem(text, remedy, fatal=False))
    if upstream and importlib.util.find_spec('pkg_resources') is None:
        text = "mmengine needs pkg_resources for _base_ = 'mmdet::...'"
        remedy = 'pip install "setuptools<82"'
        problems.append(Problem(text, remedy, fatal=False))
    return problems


def check_ops(device: str, names: list[str]) -> list[Problem]:
    """Run one nms and one roi_align whose results are known."""
    import torch

    try:
        from mmcv.ops import nms, roi_align

        boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8], [20, 0, 29, 9]])
        scores = torch.tensor([0.9, 0.8, 0.7])
        _, kept = nms(boxes.to(device), scores.to(device), 0.5)
        columns = torch.arange(4.0, device=device).repeat(1, 1, 4, 1)
        whole = torch.tensor([[0.0, 0, 0, 4, 4]], device=device)
        means = roi_align(columns, whole, 2, 1.0, 2, 'avg', True)
        right = kept.tolist() == [0, 2] and torch.allclose(
            means.cpu(), torch.tensor([0.5, 2.5]), atol=1e-4
        )
        error = 'wrong results'
    except Exception as caught:
        right, error = False, reason(caught)
    if right:
        return []
    name = names[0] if names else 'mmcv'
    if mmcv_ops.is_stand_in():
        remedy = (
            'torch and torchvision may not belong together: '
            'pip install --force-reinstall torch torchvision'
        )
    else:
        remedy = (
            'mmcv may be compiled for another torch or without CUDA. Compile '
            f'it for this one: {COMPILE} {name}; or do without compiled '
            f'operators: pip uninstall -y {name}; pip install --no-cache-dir '
            'onedl-mmcv'
        )
    return [Problem(f'mmcv.ops on {device}: {error}', remedy)]


def check_package() -> list[Problem]:
    """Import ivit's own parts."""
    try:
        for part in ('backbones', 'datasets', 'engine'):
            importlib.import_module(f'.{part}', __package__)
    except Exception as error:
        return [Problem(f'import ivit fails: {reason(error)}', INSTALL)]
    return []


def release(version: str) -> tuple[int, ...]:
    """Major and minor number."""
    return tuple(int(n) for n in re.findall(r'\d+', version)[:2])


def onedl(distribution: str) -> bool:
    """Whether a distribution is of the OneDL line."""
    return distribution.startswith('onedl-')


def reason(error: Exception) -> str:
    """An exception in one line."""
    lines = str(error).strip().splitlines() or ['']
    return f'{type(error).__name__}: {lines[0]}'


if __name__ == '__main__':
    sys.exit(main())
