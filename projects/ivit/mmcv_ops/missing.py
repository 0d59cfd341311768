# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Placeholders for the operators that the stand-in does not have."""

from collections.abc import Callable
from typing import NoReturn


class MissingOpError(NotImplementedError):
    """An operator was called that only a compiled mmcv has."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f'{name} is not available: this mmcv was installed without '
            "compiled operators, and ivit's stand-in does not have this one. "
            'Compile mmcv against the torch in use (pip install '
            '--no-build-isolation --no-cache-dir --force-reinstall --no-deps '
            'onedl-mmcv) or install a wheel built for that torch; see '
            'docs/mmcv_ops.md.'
        )


def missing_op(name: str) -> Callable[..., NoReturn]:
    """A function in place of a missing operator; calling it is an error.

    mmcv looks up every operator when it is imported, so the stand-in needs an
    attribute for each.

    Args:
        name: Name of the operator.

    Returns:
        A function that raises :class:`MissingOpError`.

    Raises:
        AttributeError: If the name begins with an underscore: no operator's
            name does.
    """
    if name.startswith('_'):
        raise AttributeError(f'the stand-in for mmcv._ext has no {name!r}')

    def op(*args: object, **kwargs: object) -> NoReturn:
        raise MissingOpError(name)

    op.__name__ = op.__qualname__ = name
    return op
