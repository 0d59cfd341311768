# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What the stand-in answers for operators it does not have."""

from collections.abc import Callable
from typing import NoReturn


class MissingOpError(NotImplementedError):
    """An operator that exists only in a compiled mmcv was called."""

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
    """The attribute ``name`` of an extension that lacks that operator.

    mmcv asks for every operator when it is imported, so the attribute must
    exist; only calling it is an error.

    Raises:
        AttributeError: For private and special names, which no operator has.
    """
    if name.startswith('_'):
        raise AttributeError(f'the stand-in for mmcv._ext has no {name!r}')

    def op(*args: object, **kwargs: object) -> NoReturn:
        raise MissingOpError(name)

    op.__name__ = op.__qualname__ = name
    return op
