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

    Covers :class:`UsageError` and names that no registry knows; any other
    error keeps its traceback. Of the processes on one machine the first one
    speaks.
    """
    try:
        yield
    except UsageError as error:
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
        print(f'error: {message}', file=sys.stderr)  # noqa: T201
    sys.exit(1)
