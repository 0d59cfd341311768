# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What a user can get wrong, told in one line instead of a traceback."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

CUSTOM_IMPORTS = (
    "custom_imports = dict(imports=['ivit'], allow_failed_imports=False)"
)


class UsageError(ValueError):
    """A config, an argument or a file that the user has to put right."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the process with one line on stderr when the user can remedy it.

    Covers every ``ValueError`` that ivit itself raises, since each names the
    wrong value and the remedy, and names that no registry knows. Any other
    error keeps its traceback. Of the processes on one machine the first one
    speaks.
    """
    try:
        yield
    except ValueError as error:
        if not _raised_by_ivit(error):
            raise
        message = str(error)
    except KeyError as error:
        if ' registry' not in str(error):
            raise
        message = (
            f'{error.args[0]} If a package of your own brings it, the config '
            f'has to import it, as in {CUSTOM_IMPORTS}'
        )
    else:
        return
    if os.environ.get('LOCAL_RANK', '0') == '0':
        sys.stderr.write(f'error: {message}\n')
    sys.exit(1)


def _raised_by_ivit(error: ValueError) -> bool:
    """Whether a tool or a module of the package raised the error."""
    if isinstance(error, UsageError):
        return True
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals.get('__name__', '')
    return module.partition('.')[0] == 'ivit'
