# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Studies on the embedded data: grids of trainings, tables and pictures."""
