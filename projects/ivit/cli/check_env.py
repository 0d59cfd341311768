# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Say whether this environment can run ivit, and what to do if not.

The exit status is 0 when ivit is usable, warnings or not, and 1 when it is
not.
"""

import argparse
import sys
from collections.abc import Sequence

from .. import check_env


def main(argv: Sequence[str] | None = None) -> None:
    """Print the versions and the problems found."""
    parser = argparse.ArgumentParser(
        prog='ivit check-env', description=__doc__
    )
    parser.parse_args(argv)
    sys.exit(check_env.main())
