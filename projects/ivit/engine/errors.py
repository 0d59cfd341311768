# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Report what a user got wrong in one line instead of a traceback."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from traceback import walk_tb

CUSTOM_IMPORTS = (
    "custom_imports = dict(imports=['ivit'], allow_failed_imports=False)"
)


# So many names, of classes for example, are listed in a message.
NAMES_LISTED = 20


class UsageError(ValueError):
    """A config, an argument or a file that the user has to put right."""


def listed(names: Sequence[str]) -> str:
    """Names in one line of a message, not too many."""
    shown = ', '.join(map(repr, names[:NAMES_LISTED]))
    more = len(names) - NAMES_LISTED
    return f'{shown} and {more} more' if more > 0 else shown


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn an error that the user can remedy into one line on stderr.

    These are the ``ValueError`` that ivit itself raises, each of which names
    the wrong value and the remedy, and the ``KeyError`` of a registry that
    does not know a name. The process then ends with status 1; of several
    processes on a machine only the first one writes. Any other error keeps
    its traceback.
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
    """Whether a module of ivit raised the error."""
    if isinstance(error, UsageError):
        return True
    *_, (innermost, _) = walk_tb(error.__traceback__)
    module = innermost.f_globals.get('__name__', '')
    return module.partition('.')[0] == 'ivit'
