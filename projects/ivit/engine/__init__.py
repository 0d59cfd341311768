# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Training and testing: configs, checks, precision, progress, optimizers."""

from .amp import BFloat16CPUOptimWrapper, set_amp
from .checkpoint_check import (
    CheckpointCheck,
    check_checkpoint_path,
    check_classes,
    load_whole,
)
from .compile import CompileBackboneHook, set_compile
from .config_files import find_config, packaged_configs
from .distributed import leave_process_group
from .errors import UsageError, one_line_errors
from .initial_weights import (
    has_initial_weights,
    remove_initial_weights,
    tell_initial_weights,
)
from .last_checkpoint import find_last_checkpoint
from .launch import (
    add_common_arguments,
    build_runner,
    load_config,
    merge_data_preprocessor,
)
from .layer_decay import LayerDecayOptimWrapperConstructor
from .no_decay import NoDecayOptimWrapperConstructor
from .progress import ProgressBar
from .report_hook import ReportHook
from .stopwatch import Stopwatch

__all__ = [
    'BFloat16CPUOptimWrapper',
    'CheckpointCheck',
    'CompileBackboneHook',
    'LayerDecayOptimWrapperConstructor',
    'NoDecayOptimWrapperConstructor',
    'ProgressBar',
    'ReportHook',
    'Stopwatch',
    'UsageError',
    'add_common_arguments',
    'build_runner',
    'check_checkpoint_path',
    'check_classes',
    'find_config',
    'find_last_checkpoint',
    'has_initial_weights',
    'leave_process_group',
    'load_config',
    'load_whole',
    'merge_data_preprocessor',
    'one_line_errors',
    'packaged_configs',
    'remove_initial_weights',
    'set_amp',
    'set_compile',
    'tell_initial_weights',
]
