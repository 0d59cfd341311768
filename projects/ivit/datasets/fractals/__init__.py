# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Fractals from formulas, to pre-train with no data and no licence."""
