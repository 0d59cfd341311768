# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Models as ONNX files for images of any size."""
