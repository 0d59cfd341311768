# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""mmdet, mmseg and mmpretrain: ivit runs without any of them.

A class of ivit that builds on an absent framework is replaced by a
placeholder of the same name, which says what to install when it is used.
"""

import importlib
import importlib.metadata
import importlib.util
import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, NamedTuple, NoReturn

if TYPE_CHECKING:  # check_env imports this module even without mmengine
    from mmengine.registry import Registry


class Framework(NamedTuple):
    """A framework that ivit's backbones plug into.

    Attributes:
        task: What it is for.
        onedl: Name of its distribution in the OneDL line.
        upstream: Name of its distribution in OpenMMLab's own line.
    """

    task: str
    onedl: str
    upstream: str


#: The frameworks by the names they are imported by.
FRAMEWORKS = {
    'mmdet': Framework(
        'detection and instance segmentation', 'onedl-mmdetection', 'mmdet'
    ),
    'mmseg': Framework(
        'semantic segmentation', 'onedl-mmsegmentation', 'mmsegmentation'
    ),
    'mmpretrain': Framework(
        'classification', 'onedl-mmpretrain', 'mmpretrain'
    ),
}


class MissingFrameworkError(ImportError, ValueError):
    """Something was used whose framework cannot be imported."""


def pip_command(framework: str) -> str:
    """The command that installs a framework of the line mmengine is of.

    Args:
        framework: A key of ``FRAMEWORKS``.
    """
    names = FRAMEWORKS[framework]
    try:
        importlib.metadata.version('mmengine')  # only upstream has this name
    except importlib.metadata.PackageNotFoundError:
        return f'pip install {names.onedl}'
    return f'pip install {names.upstream}'


def require(framework: str, user: str) -> None:
    """Refuse to go on without a framework.

    Args:
        framework: A key of ``FRAMEWORKS``.
        user: What needs it, for the message.

    Raises:
        MissingFrameworkError: If the framework is not installed.
    """
    if importlib.util.find_spec(framework) is None:
        raise MissingFrameworkError(_not_installed(framework, user))


def import_or_placeholder(
    module: str, name: str, framework: str, registry: 'Registry'
) -> type:
    """Import a class that registers itself, or register a placeholder.

    A framework that is installed but cannot be imported is told of in the
    log.

    Args:
        module: Full name of the module of ivit that has the class.
        name: Name of the class, also in the registry.
        framework: The framework that ``module`` imports.
        registry: Where the class registers itself.

    Returns:
        The class or a placeholder. A placeholder raises
        :class:`MissingFrameworkError` when it is called, built by a registry
        or subclassed.
    """
    try:
        with _without_debug_lines():
            return getattr(importlib.import_module(module), name)
    except Exception as error:  # some assert versions, some lack libraries
        if isinstance(error, ModuleNotFoundError) and error.name == framework:
            message = _not_installed(framework, name)
        else:
            first_line = (str(error).splitlines() or [''])[0]
            fault = f'import fails: {type(error).__name__}: {first_line}'
            message = f'{name} needs {framework}, whose {fault}'
            from mmengine.logging import print_log

            print_log(
                f'ivit goes on without {framework}, whose {fault}',
                logger='current',
                level=logging.WARNING,
            )
    placeholder = _make_placeholder(name, message)
    registry.register_module(name=name, module=placeholder)
    return placeholder


@contextmanager
def _without_debug_lines() -> Iterator[None]:
    """Keep a debug line of the frameworks off stdout.

    Before there is a logger, ``print_log`` prints whatever its level is: that
    a library for other data sets could not be imported, four times.
    """
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        for line in printed.getvalue().splitlines():
            if not line.startswith('Could not import OneDL'):
                sys.stdout.write(f'{line}\n')


def is_placeholder(cls: type) -> bool:
    """Whether a class stands for one whose framework is missing."""
    return cls.__module__ == __name__


def _not_installed(framework: str, user: str) -> str:
    return (
        f'{user} needs {framework} ({FRAMEWORKS[framework].task}), which is '
        f'not installed: {pip_command(framework)}'
    )


def _make_placeholder(name: str, message: str) -> type:
    """A class that raises ``message`` when it is called or subclassed."""

    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise MissingFrameworkError(message)

    members = {
        '__new__': refuse,
        '__init_subclass__': refuse,
        '__module__': __name__,
        '__doc__': message,
    }
    return type(name, (), members)
