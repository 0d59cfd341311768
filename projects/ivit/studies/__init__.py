# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Studies on the embedded data: grids of trainings, tables and pictures."""

from ..frameworks import FRAMEWORKS, require

for _framework in FRAMEWORKS:
    require(_framework, __name__)
