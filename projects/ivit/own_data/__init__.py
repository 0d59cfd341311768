# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Train on a user's own data: configs fitted to what lies in a folder."""

from .fit import fit_config, task_of
from .prepare import DataPaths, prepare

__all__ = ['DataPaths', 'fit_config', 'prepare', 'task_of']
