# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Graphs of free sizes in onnxruntime."""

import io
from collections.abc import Sequence

import onnxruntime
import torch
from torch import Tensor, nn

from ivit.export.translations import translation_table


def onnx_session(
    module: nn.Module, inputs: tuple[Tensor, ...], free: Sequence
) -> onnxruntime.InferenceSession:
    """A module as a graph of standard operators in onnxruntime.

    Args:
        module: In evaluation mode.
        inputs: What it is traced with.
        free: Which sizes of the inputs are free.
    """
    with torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            inputs,
            dynamo=True,
            dynamic_shapes=tuple(free),
            opset_version=20,
            custom_translation_table=translation_table(),
            verbose=False,
        )
    domains = {node.domain for node in program.model.graph.all_nodes()}
    assert domains <= {''}
    assert not program.model.functions
    file = io.BytesIO()
    program.save(file)
    return onnxruntime.InferenceSession(
        file.getvalue(), providers=['CPUExecutionProvider']
    )
