#!/usr/bin/env python
# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The same as ``ivit study``, from a checkout that is not installed."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'projects'))

from ivit.cli.study import main

if __name__ == '__main__':
    # The trainings are processes of their own, which have to find ivit too.
    os.environ['PYTHONPATH'] = os.pathsep.join(
        filter(None, [sys.path[0], os.environ.get('PYTHONPATH')])
    )
    main()
