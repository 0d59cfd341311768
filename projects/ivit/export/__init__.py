# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Models as files that run without PyTorch: ``ivit.export``.

A room of its own, with packages that need not be installed: ``onnx`` and
``onnxscript`` to write a file, ``onnxruntime`` to run it.
"""

from .make import Exported, export

__all__ = ['Exported', 'export']
