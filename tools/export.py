#!/usr/bin/env python
# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The same as ``ivit export``, from a checkout that is not installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'projects'))

from ivit.cli.export import main

if __name__ == '__main__':
    main()
